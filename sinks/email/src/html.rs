//! The HTML part of a mail: one column, a table of facts, no picture, no link, no script. Pure.
//!
//! Styles stand in the elements, for the many readers that throw a style sheet away; the sheet adds what only it can: dark
//! colours, narrow screens and paper.

use std::fmt::Write as _;

use trapline_notice::{Notice, Weight};

/// Colours, narrow screens, paper.
const SHEET: &str = "\
:root{color-scheme:light dark;supported-color-schemes:light dark}\n\
@media (max-width:480px){\n\
.page{padding:0!important}\n\
.card{border-radius:0!important;border-left:0!important;border-right:0!important}\n\
.inner{padding:20px 16px!important}\n\
.name{width:76px!important;padding-right:10px!important}\n\
}\n\
@media (prefers-color-scheme:dark){\n\
body,.page{background:#14171a!important}\n\
.card{background:#1d2125!important;border-left-color:#343a40!important;border-right-color:#343a40!important;\
border-bottom-color:#343a40!important}\n\
.ink{color:#e6e8ea!important}\n\
.soft{color:#9aa4ae!important}\n\
.name,.value{border-color:#30363c!important}\n\
.theirs{background:#2a2f35!important;color:#ffd8a8!important}\n\
}\n\
@media print{\n\
body,.page{background:#fff!important;padding:0!important}\n\
.card{border-left:0!important;border-right:0!important;border-bottom:0!important;background:#fff!important}\n\
.ink,.theirs{color:#000!important}\n\
.soft{color:#444!important}\n\
.theirs{background:#fff!important;border:1px solid #999!important}\n\
tr{page-break-inside:avoid}\n\
}\n";

const SANS: &str = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif";
const MONO: &str = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";

/// The document, lines ending in CRLF. `kicker`: the words above its heading; `footer`: small lines below.
pub(crate) fn body(notice: &Notice, kicker: &str, footer: &[String]) -> String {
    let (word, colour) = (escaped(kicker), colour(notice.weight));
    let subject = escaped(&notice.subject);
    let mut out = head(&subject);
    let _ = write!(
        out,
        "<body style=\"margin:0;padding:0;background:#f2f4f6\">\n\
         <table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\">\n\
         <tr><td class=\"page\" align=\"center\" style=\"padding:24px 12px;background:#f2f4f6\">\n\
         <table role=\"presentation\" class=\"card\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" \
         style=\"max-width:620px;background:#ffffff;border:1px solid #dde1e5;border-top:4px solid {colour};\
         border-radius:6px;text-align:left\">\n\
         <tr><td class=\"inner\" style=\"padding:26px 30px\">\n\
         <p class=\"soft\" style=\"margin:0 0 6px;{SANS};font-size:12px;letter-spacing:.08em;text-transform:uppercase;\
         color:#69737d\"><span style=\"color:{colour}\">&#9679;</span> {word}</p>\n\
         <h1 class=\"ink\" style=\"margin:0 0 14px;{SANS};font-size:20px;line-height:1.3;font-weight:600;color:#1b1f23;\
         overflow-wrap:anywhere\">{subject}</h1>\n"
    );
    paragraph(&mut out, &notice.opening, 16);
    facts(&mut out, notice);
    paragraph(&mut out, &notice.closing, 0);
    out.push_str("</td></tr>\n</table>\n");
    below(&mut out, footer);
    out.push_str("</td></tr>\n</table>\n</body>\n</html>\n");
    out.replace('\n', "\r\n")
}

fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"supported-color-schemes\" content=\"light dark\">\n\
         <meta name=\"format-detection\" content=\"telephone=no, date=no, address=no, email=no, url=no\">\n\
         <title>{title}</title>\n<style>\n{SHEET}</style>\n</head>\n"
    )
}

/// The word of a weight.
pub(crate) const fn weight(weight: Weight) -> &'static str {
    match weight {
        Weight::News => "news of trapline",
        Weight::Contact => "contact",
        Weight::Intent => "intent",
        Weight::Proof => "proof",
    }
}

/// The colour of a weight, which reads on white and on black.
const fn colour(weight: Weight) -> &'static str {
    match weight {
        Weight::News => "#7a8794",
        Weight::Contact => "#3b82c4",
        Weight::Intent => "#d9822b",
        Weight::Proof => "#d64545",
    }
}

fn paragraph(out: &mut String, text: &str, below: u8) {
    if !text.is_empty() {
        let text = escaped(text);
        let _ = writeln!(
            out,
            "<p class=\"ink\" style=\"margin:0 0 {below}px;{SANS};font-size:15px;line-height:1.5;color:#1b1f23;\
             overflow-wrap:anywhere\">{text}</p>"
        );
    }
}

fn facts(out: &mut String, notice: &Notice) {
    if notice.facts.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "<table width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" \
         style=\"margin:0 0 18px;border-collapse:collapse;{SANS};line-height:1.45;text-align:left\">"
    );
    for fact in &notice.facts {
        let (name, value) = (escaped(fact.label), escaped(&fact.shown()));
        let value = match fact.foreign {
            true => format!(
                "<code class=\"theirs\" style=\"{MONO};font-size:13px;background:#f4f1ea;color:#5c3c00;padding:1px 5px;\
                 border-radius:3px;-webkit-box-decoration-break:clone;box-decoration-break:clone\">{value}</code>"
            ),
            false => value,
        };
        let _ = write!(
            out,
            "<tr><th scope=\"row\" class=\"name soft\" valign=\"baseline\" width=\"22%\" \
             style=\"padding:6px 14px 6px 0;border-bottom:1px solid #eceff1;font-size:13px;font-weight:400;\
             color:#69737d\">{name}</th>\n\
             <td class=\"value ink\" valign=\"baseline\" style=\"padding:6px 0;border-bottom:1px solid #eceff1;font-size:14px;\
             color:#1b1f23;word-break:break-word;overflow-wrap:anywhere\">{value}</td></tr>\n"
        );
    }
    out.push_str("</table>\n");
}

fn below(out: &mut String, footer: &[String]) {
    let lines: Vec<String> = footer.iter().map(|line| escaped(line)).collect();
    let _ = writeln!(
        out,
        "<p class=\"soft\" style=\"max-width:620px;margin:14px auto 0;padding:0 12px;{SANS};font-size:12px;line-height:1.6;\
         color:#69737d;text-align:center;overflow-wrap:anywhere\">{}</p>",
        lines.join("<br>\n")
    );
}

/// Text as HTML shows it, between tags or within a quoted attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_notice::Fact;
    use uuid::Uuid;

    use super::*;

    fn notice(value: &str) -> Notice {
        let value = value.to_owned();
        Notice {
            event: Uuid::nil(),
            incident: None,
            weight: Weight::Intent,
            subject: "Somebody & sons".to_owned(),
            opening: String::new(),
            facts: vec![Fact {
                label: "user tried",
                value,
                foreign: true,
            }],
            closing: String::new(),
        }
    }

    fn tags(html: &str) -> Vec<&str> {
        html.split('<')
            .skip(1)
            .map(|tag| tag.split('>').next().unwrap())
            .collect()
    }

    #[test]
    fn nothing_is_fetched_and_nothing_can_be_clicked() {
        let html = body(
            &notice("<a href=https://evil.example>x</a><img src=x onerror=y>"),
            "intent",
            &[],
        );
        for word in [
            "<a", "<img", "<script", "<link", "<form", "href=", "src=", "url(", "@import", "http",
        ] {
            assert!(
                !html.replace("href=hxxps", "").replace("img src=x", "").contains(word),
                "{word}"
            );
        }
        assert!(html.contains("&lt;a href=hxxps[:]//evil[.]example&gt;x&lt;/a&gt;"));
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_fact_add_no_tag(value in "([<>&\"'/=]|script|img|\\PC){0,60}") {
            let without = body(&notice(""), "intent", &[]);
            let with = body(&notice(&value), "intent", &[]);
            prop_assert_eq!(tags(&without), tags(&with));
        }
    }
}
