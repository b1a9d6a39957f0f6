//! Who we are to the cluster: one header, made once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use trapline_sink::config::{ExposeSecret, Secret};

/// The ways there are.
#[derive(Debug, Clone, Default)]
pub(crate) enum Auth {
    /// No header; perhaps a client certificate.
    #[default]
    None,
    /// `ApiKey`, of Elasticsearch.
    ApiKey(Secret),
    /// `Basic`.
    Basic {
        /// Without a colon, which parts it from the password.
        username: String,
        password: Secret,
    },
    /// `Bearer`.
    Token(Secret),
}

impl Auth {
    /// The header's value; `None` for no header. Errors: bytes that no header can carry.
    pub(crate) fn header(&self) -> Result<Option<HeaderValue>, Unfit> {
        let text = match self {
            Self::None => return Ok(None),
            Self::ApiKey(key) => format!("ApiKey {}", encoded(key.expose_secret().trim())),
            Self::Basic { username, password } => {
                let both = format!("{username}:{}", password.expose_secret());
                format!("Basic {}", STANDARD.encode(both))
            }
            Self::Token(token) => format!("Bearer {}", token.expose_secret().trim()),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| Unfit)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// A key as the header has it. Elastic shows it so (`encoded`), and as `id` and `api_key`, which some join by a colon.
fn encoded(key: &str) -> String {
    match key.contains(':') {
        true => STANDARD.encode(key),
        false => key.to_owned(),
    }
}

/// The secret cannot be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfit;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(auth: &Auth) -> Option<String> {
        let value = auth.header().unwrap()?;
        assert!(value.is_sensitive());
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn each_way_has_its_header() {
        assert_eq!(header(&Auth::None), None);
        let encoded = "VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1zeWFrdzl0dk5udw==";
        let both = ["VuaCfGcBCdbkQm-e5aOx:ui2lp2axTNmsyakw9tvNnw", encoded];
        for key in both {
            assert_eq!(header(&Auth::ApiKey(key.into())), Some(format!("ApiKey {encoded}")));
        }
        let basic = Auth::Basic {
            username: "Aladdin".into(),
            password: "open sesame".into(),
        };
        assert_eq!(header(&basic).as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(header(&Auth::Token("abc\n".into())).as_deref(), Some("Bearer abc"));
        assert_eq!(Auth::Token("a\nb".into()).header(), Err(Unfit));
    }

    #[test]
    fn no_secret_is_in_a_debug_text() {
        let basic = Auth::Basic {
            username: "u".into(),
            password: "hush".into(),
        };
        for auth in [Auth::ApiKey("hush".into()), basic, Auth::Token("hush".into())] {
            assert!(!format!("{auth:?} {:?}", auth.header()).contains("hush"));
        }
    }
}
