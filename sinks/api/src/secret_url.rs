//! A URL of which all but scheme, host and port may be the credential, as a webhook's.
//!
//! In: a URL that is right. Out: requests to it. Its path and its query are in the request line and nowhere else.

use reqwest::{Method, RequestBuilder, Url};

use crate::config::{ExposeSecret, Secret};
use crate::http::HttpClient;

/// Shorter pieces of a path or a query are words such as `workflows`, and no credential.
const PIECE_MIN: usize = 16;

/// A URL in two parts: what may be shown, and what not.
#[derive(Debug, Clone)]
pub struct SecretUrl {
    /// Scheme, host and port.
    pub base: Url,
    /// Without its leading `/`.
    pub path: Secret,
    /// Without its `?`.
    pub query: Option<Secret>,
}

impl SecretUrl {
    /// Takes it apart.
    pub fn of(url: Url) -> Self {
        let path = url.path();
        let path = path.strip_prefix('/').unwrap_or(path).to_owned().into();
        let query = url.query().map(|query| query.to_owned().into());
        let mut base = url;
        base.set_path("");
        base.set_query(None);
        Self { base, path, query }
    }

    /// A request to it, through the client of its base.
    pub fn request(&self, client: &HttpClient, method: Method) -> RequestBuilder {
        let query = self.query.as_ref().map(|query| query.expose_secret());
        client.request_to(method, self.path.expose_secret(), query)
    }

    /// What a peer could repeat of it and nobody is to see: the whole, and the pieces that are long enough.
    pub fn secrets(&self) -> Vec<&str> {
        let parts = [Some(&self.path), self.query.as_ref()];
        let parts = parts.into_iter().flatten().map(|part| part.expose_secret());
        parts
            .flat_map(pieces)
            .filter(|piece| piece.len() >= PIECE_MIN)
            .collect()
    }
}

/// A path or a query as a whole, and what stands between its separators.
fn pieces(part: &str) -> impl Iterator<Item = &str> {
    [part].into_iter().chain(part.split(['/', '&', '=']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debug_text_shows_neither_path_nor_query() {
        let url = SecretUrl::of(Url::parse("https://h:1/hush/x?hush=1").unwrap());
        let shown = format!("{url:?}");
        assert!(!shown.contains("hush") && shown.contains('h'), "{shown}");
    }

    #[test]
    fn a_request_goes_to_the_url_as_it_was_written() {
        let names = crate::dial::Resolver::default();
        for text in [
            "http://127.0.0.1:1/a%2Fb/?sp=%2Frun&sig=a%2Bb%3D",
            "http://127.0.0.1:1//a/x",
            "http://127.0.0.1:1/",
        ] {
            let url = SecretUrl::of(Url::parse(text).unwrap());
            let deadline = std::time::Duration::from_secs(1);
            let client = HttpClient::new(url.base.clone(), None, deadline, names.clone()).unwrap();
            let request = url.request(&client, Method::POST).build().unwrap();
            assert_eq!(request.url().as_str(), text);
        }
    }

    #[test]
    fn what_is_long_enough_is_a_secret_with_all_around_it() {
        let url = "https://h/workflows/0123456789abcdef/run?sp=%2Frun&sig=ABCDEFGHIJKLMNOPQ";
        let url = SecretUrl::of(Url::parse(url).unwrap());
        let secrets = [
            "workflows/0123456789abcdef/run",
            "0123456789abcdef",
            "sp=%2Frun&sig=ABCDEFGHIJKLMNOPQ",
            "ABCDEFGHIJKLMNOPQ",
        ];
        assert_eq!(url.secrets(), secrets);
        assert_eq!(url.base.as_str(), "https://h/");
    }
}
