//! The error pages and reasons of each product.

use super::answer::{Answer, Family, Frame};

/// The body of an error, or of a redirect.
pub(super) fn error(answer: &Answer<'_>, frame: &Frame<'_>) -> String {
    match frame.family {
        Family::Apache => apache(answer, frame),
        Family::Nginx => nginx(answer, frame),
        Family::Iis if is_kernel(answer.status) => kernel(answer),
        Family::Iis => iis(answer),
    }
}

/// Apache's reason phrases.
pub(super) fn apache_reason(status: u16) -> &'static str {
    match status {
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        416 => "Requested Range Not Satisfiable",
        other => reason(other),
    }
}

/// nginx's reason phrases.
pub(super) fn nginx_reason(status: u16) -> &'static str {
    match status {
        302 => "Moved Temporarily",
        405 => "Not Allowed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        416 => "Requested Range Not Satisfiable",
        other => reason(other),
    }
}

/// Reason phrases of IIS.
pub(super) fn iis_reason(status: u16) -> &'static str {
    match status {
        302 => "Redirect",
        413 => "Request Entity Too Large",
        other => reason(other),
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        412 => "Precondition Failed",
        414 => "URI Too Long",
        416 => "Requested Range Not Satisfiable",
        417 => "Expectation Failed",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}

/// What Windows' HTTP kernel driver answers itself, before IIS sees it.
pub(super) fn is_kernel(status: u16) -> bool {
    matches!(status, 400 | 411 | 413 | 414 | 505)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn apache(answer: &Answer<'_>, frame: &Frame<'_>) -> String {
    let detail = escape(&answer.detail);
    let text = match answer.status {
        302 => {
            let place = answer.extra.as_ref().map_or("", |(_, place)| place);
            format!(
                "<p>The document has moved <a href=\"{}\">here</a>.</p>\n",
                escape(place)
            )
        }
        400 => format!(
            "<p>Your browser sent a request that this server could not understand.<br />\n{}</p>\n",
            detail.replace('\n', "<br />\n")
        ),
        401 => "<p>This server could not verify that you\nare authorized to access the document\nrequested.  \
                Either you supplied the wrong\ncredentials (e.g., bad password), or your\nbrowser doesn't \
                understand how to supply\nthe credentials required.</p>\n"
            .to_owned(),
        403 => "<p>You don't have permission to access this resource.</p>\n".to_owned(),
        404 => "<p>The requested URL was not found on this server.</p>\n".to_owned(),
        405 => format!("<p>The requested method {detail} is not allowed for this URL.</p>\n"),
        408 => "<p>Server timeout waiting for the HTTP request from the client.</p>\n".to_owned(),
        413 => format!(
            "The requested resource does not allow request data with {detail} requests, or the amount of data \
             provided in\nthe request exceeds the capacity limit.\n"
        ),
        414 => "<p>The requested URL's length exceeds the capacity\nlimit for this server.<br />\n</p>\n".to_owned(),
        416 => "<p>None of the range-specifier values in the Range\nrequest-header field overlap the current \
                extent\nof the selected resource.</p>\n"
            .to_owned(),
        417 => format!(
            "<p>The expectation given in the Expect request-header\nfield could not be met by this server.\nThe client \
             sent<pre>\n    Expect: {detail}\n</pre>\n</p><p>Only the 100-continue expectation is supported.</p>\n"
        ),
        501 => format!("<p>{detail} not supported for current URL.<br />\n</p>\n"),
        _ => String::new(),
    };
    let reason = apache_reason(answer.status);
    format!(
        "{}\n<html><head>\n<title>{} {reason}</title>\n</head><body>\n<h1>{reason}</h1>\n{text}<hr>\n<address>{} \
         Server at {} Port {}</address>\n</body></html>\n",
        frame.doctype,
        answer.status,
        frame.server,
        escape(frame.host),
        frame.port,
    )
}

fn nginx(answer: &Answer<'_>, frame: &Frame<'_>) -> String {
    let shown = match answer.status {
        302 => "302 Found".to_owned(),
        401 => "401 Authorization Required".to_owned(),
        status => format!("{status} {}", nginx_reason(status)),
    };
    // Only one 400 says why.
    let title = match &*answer.detail {
        "" => shown.clone(),
        detail => format!("{} {detail}", answer.status),
    };
    let why = match &*answer.detail {
        "" => String::new(),
        detail => format!("<center>{detail}</center>\r\n"),
    };
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{shown}</h1></center>\r\n{why}<hr>\
         <center>{}</center>\r\n</body>\r\n</html>\r\n",
        frame.server,
    )
}

fn kernel(answer: &Answer<'_>) -> String {
    let title = match answer.status {
        411 => "Length Required",
        413 => "Request Entity Too Large",
        414 => "URI Too Long",
        505 => "HTTP Version Not Supported",
        _ => "Bad Request",
    };
    let (heading, text) = match (answer.status, &*answer.detail) {
        (400, "verb") => ("Bad Request - Invalid Verb", "The request verb is invalid."),
        (400, "url") => ("Bad Request - Invalid URL", "The request URL is invalid."),
        (400, "host") => ("Bad Request - Invalid Hostname", "The request hostname is invalid."),
        (400, "header") => (
            "Bad Request - Invalid Header",
            "The request has an invalid header name.",
        ),
        (400, "length") => (
            "Bad Request - Invalid Content Length",
            "There is an invalid content length or chunk length in the request.",
        ),
        (400, "long") => (
            "Bad Request - Request Too Long",
            "The size of the request headers is too long.",
        ),
        (411, _) => (
            "Length Required",
            "The request must be chunked or have a content length.",
        ),
        (413, _) => ("Request Entity Too Large", "The request entity is too large."),
        (414, _) => ("Request URL Too Long", "The request URL is too long."),
        (505, _) => (
            "HTTP Version Not Supported",
            "The request HTTP version is not supported.",
        ),
        _ => ("Bad Request", "The request is badly formed."),
    };
    format!(
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\"\"http://www.w3.org/TR/html4/strict.dtd\">\r\n<HTML><HEAD>\
         <TITLE>{title}</TITLE>\r\n<META HTTP-EQUIV=\"Content-Type\" Content=\"text/html; charset=us-ascii\"></HEAD>\r\n\
         <BODY><h2>{heading}</h2>\r\n<hr><p>HTTP Error {}. {text}</p>\r\n</BODY></HTML>\r\n",
        answer.status,
    )
}

fn iis(answer: &Answer<'_>) -> String {
    let no_permission =
        "You do not have permission to view this directory or page using the credentials that you supplied.";
    let (title, text) = match answer.status {
        302 => {
            let place = answer.extra.as_ref().map_or("", |(_, place)| place);
            return format!(
                "<head><title>Document Moved</title></head>\n<body><h1>Object Moved</h1>This document may be found \
                 <a HREF=\"{}\">here</a></body>",
                escape(place),
            );
        }
        401 => (
            "401 - Unauthorized: Access is denied due to invalid credentials.",
            no_permission,
        ),
        403 => ("403 - Forbidden: Access is denied.", no_permission),
        405 => (
            "405 - HTTP verb used to access this page is not allowed.",
            "The page you are looking for cannot be displayed because an invalid method (HTTP verb) was used to \
             attempt access.",
        ),
        501 => (
            "501 - Header values specify a method that is not implemented.",
            "The page you are looking for cannot be displayed because a header value in the request does not match \
             certain configuration settings on the Web server. For example, a request header might specify a POST to \
             a static file that cannot be posted to, or specify a Transfer-Encoding value that cannot make use of \
             compression.",
        ),
        _ => (
            "404 - File or directory not found.",
            "The resource you are looking for might have been removed, had its name changed, or is temporarily \
             unavailable.",
        ),
    };
    IIS_PAGE
        .replace("TITLE", title)
        .replace("TEXT", text)
        .replace('\n', "\r\n")
}

const IIS_PAGE: &str = r##"<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">
<html xmlns="http://www.w3.org/1999/xhtml">
<head>
<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1"/>
<title>TITLE</title>
<style type="text/css">
<!--
body{margin:0;font-size:.7em;font-family:Verdana, Arial, Helvetica, sans-serif;background:#EEEEEE;}
fieldset{padding:0 15px 10px 15px;} 
h1{font-size:2.4em;margin:0;color:#FFF;}
h2{font-size:1.7em;margin:0;color:#CC0000;} 
h3{font-size:1.2em;margin:10px 0 0 0;color:#000000;} 
#header{width:96%;margin:0 0 0 0;padding:6px 2% 6px 2%;font-family:"trebuchet MS", Verdana, sans-serif;color:#FFF;
background-color:#555555;}
#content{margin:0 0 0 2%;position:relative;}
.content-container{background:#FFF;width:96%;margin-top:8px;padding:10px;position:relative;}
-->
</style>
</head>
<body>
<div id="header"><h1>Server Error</h1></div>
<div id="content">
 <div class="content-container"><fieldset>
  <h2>TITLE</h2>
  <h3>TEXT</h3>
 </fieldset></div>
</div>
</body>
</html>
"##;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(family: Family, server: &'static str) -> Frame<'static> {
        Frame {
            family,
            server,
            doctype: "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">",
            date: "Sun, 22 Nov 2026 14:44:22 GMT",
            host: "10.0.0.5",
            port: 80,
            head: false,
            bare: false,
            asked_keep: false,
            kept: 0,
            old: false,
        }
    }

    fn page(family: Family, server: &'static str, status: u16, detail: &'static str) -> usize {
        error(
            &Answer {
                status,
                detail: detail.into(),
                ..Answer::default()
            },
            &frame(family, server),
        )
        .len()
    }

    #[test]
    fn apache_pages_are_as_long_as_those_of_a_live_2_4_71() {
        let length = |status, detail| page(Family::Apache, "Apache/2.4.71 (Debian)", status, detail);
        assert_eq!(length(404, ""), 310);
        assert_eq!(length(403, ""), 313);
        assert_eq!(length(401, ""), 495);
        assert_eq!(length(400, ""), 340);
        assert_eq!(length(405, "PUT"), 334);
        assert_eq!(length(501, "FOO"), 316);
        // Captured from 127.0.0.1, a byte longer than this host.
        assert_eq!(length(414, ""), 363 - 1);
    }

    #[test]
    fn nginx_pages_are_as_long_as_those_of_a_live_1_22_1() {
        let length = |status, detail| page(Family::Nginx, "nginx/1.22.1", status, detail);
        assert_eq!(length(404, ""), 153);
        assert_eq!(length(405, ""), 157);
        assert_eq!(length(401, ""), 179);
        assert_eq!(length(414, ""), 177);
        assert_eq!(length(413, ""), 183);
        assert_eq!(length(505, ""), 187);
        assert_eq!(length(501, ""), 165);
        assert_eq!(length(400, "Request Header Or Cookie Too Large"), 233);
    }

    #[test]
    fn iis_pages_have_the_lengths_that_iis_is_known_by() {
        let length = |status, detail| page(Family::Iis, "Microsoft-IIS/10.0", status, detail);
        assert_eq!(length(404, ""), 1245);
        assert_eq!(length(401, ""), 1293);
        assert_eq!(length(403, ""), 1233);
        assert_eq!(length(405, ""), 1293);
        assert_eq!(length(400, "verb"), 326);
        assert_eq!(length(400, "url"), 324);
        assert_eq!(length(400, "host"), 334);
        assert_eq!(length(400, ""), 311);
        assert_eq!(length(411, ""), 344);
    }

    #[test]
    fn an_answer_reads_as_the_captured_one() {
        let answer = Answer {
            status: 404,
            ..Answer::default()
        };
        let bytes = answer.render(&frame(Family::Apache, "Apache/2.4.71 (Debian)"));
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.starts_with(
            "HTTP/1.1 404 Not Found\r\nDate: Sun, 22 Nov 2026 14:44:22 GMT\r\nServer: Apache/2.4.71 (Debian)\r\n\
             Content-Length: 310\r\nContent-Type: text/html; charset=iso-8859-1\r\n\r\n<!DOCTYPE HTML PUBLIC"
        ));
        let bytes = Answer {
            status: 401,
            extra: Some(("WWW-Authenticate", "Basic realm=\"x\"".into())),
            ..Answer::default()
        }
        .render(&frame(Family::Nginx, "nginx/1.22.1"));
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.starts_with(
            "HTTP/1.1 401 Unauthorized\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 14:44:22 GMT\r\n\
             Content-Type: text/html\r\nContent-Length: 179\r\nConnection: keep-alive\r\n\
             WWW-Authenticate: Basic realm=\"x\"\r\n\r\n"
        ));
    }
}
