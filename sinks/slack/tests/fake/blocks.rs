//! What Slack's documentation has against a message, and what could be live in it.

use serde_json::{Map, Value};

/// Everything that is wrong with a message, in words. `api`: it is one for `chat.postMessage`.
pub fn wrong(message: &Value, api: bool) -> Vec<String> {
    let mut wrong = Wrong(Vec::new());
    let Some(fields) = message.as_object() else {
        return vec![format!("not an object: {message}")];
    };
    let own: &[&str] = &["text", "blocks", "mrkdwn", "unfurl_links", "unfurl_media"];
    let of_api: &[&str] = &["channel", "metadata", "thread_ts", "reply_broadcast"];
    let allowed: Vec<&str> = own.iter().chain(of_api.iter().filter(|_| api)).copied().collect();
    wrong.keys(
        "message",
        fields,
        &["text", "mrkdwn", "unfurl_links", "unfurl_media"],
        &allowed,
    );
    for off in ["mrkdwn", "unfurl_links", "unfurl_media"] {
        wrong.unless(message[off] == false, || format!("`{off}` is not off"));
    }
    wrong.text_for_notifications(&message["text"]);
    if let Some(blocks) = fields.get("blocks") {
        wrong.blocks(blocks);
    }
    if let Some(metadata) = fields.get("metadata") {
        wrong.metadata(metadata);
    }
    wrong.0
}

struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, good: bool, what: impl FnOnce() -> String) {
        if !good {
            self.0.push(what());
        }
    }

    fn keys(&mut self, what: &str, object: &Map<String, Value>, required: &[&str], allowed: &[&str]) {
        for key in required {
            self.unless(object.contains_key(*key), || format!("{what} without `{key}`"));
        }
        for key in object.keys() {
            self.unless(allowed.contains(&key.as_str()), || format!("{what} with `{key}`"));
        }
    }

    /// A text of some characters, in whatever way they are counted, that hides nothing.
    fn text(&mut self, what: &str, text: &Value, max: usize) -> String {
        let text = text.as_str().unwrap_or_default().to_owned();
        self.unless(!text.trim().is_empty(), || format!("{what} is empty"));
        let units = text.encode_utf16().count();
        self.unless(units <= max, || {
            format!("{what} has {units} characters, {max} are allowed")
        });
        let lines = text.replace('\n', " ");
        self.unless(trapline_schemas::text::is_clean(&lines), || {
            format!("{what} hides something: {text:?}")
        });
        text
    }

    /// The one text in which markup is read.
    fn text_for_notifications(&mut self, text: &Value) {
        let text = self.text("text", text, 4000);
        self.escaped("text", &text);
    }

    /// No control sequence can be formed, and no entity is a half one.
    fn escaped(&mut self, what: &str, text: &str) {
        self.unless(!text.contains(['<', '>']), || format!("{what} is live: {text:?}"));
        for rest in text.split('&').skip(1) {
            let is_entity = ["amp;", "lt;", "gt;"].iter().any(|entity| rest.starts_with(entity));
            self.unless(is_entity, || format!("{what} has a bare `&`: {text:?}"));
        }
    }

    fn blocks(&mut self, blocks: &Value) {
        let Some(list) = blocks.as_array() else {
            return self.0.push("`blocks` is no list".to_owned());
        };
        self.unless((1..=50).contains(&list.len()), || format!("{} blocks", list.len()));
        for block in list {
            self.block(block);
        }
        // As PHP writes JSON: what is not ASCII as \uXXXX, a slash as \/.
        let written: usize = blocks
            .to_string()
            .chars()
            .map(|ch| match ch {
                '/' => 2,
                ch if ch.is_ascii() => 1,
                ch => 6 * ch.len_utf16(),
            })
            .sum();
        self.unless(written <= 13_000, || format!("blocks of {written} characters"));
    }

    fn block(&mut self, block: &Value) {
        let Some(fields) = block.as_object() else {
            return self.0.push(format!("no block: {block}"));
        };
        let kind = block["type"].as_str().unwrap_or_default();
        match kind {
            "header" | "section" => {
                self.keys(kind, fields, &["type", "text"], &["type", "text"]);
                self.text_object(kind, &block["text"], if kind == "header" { 150 } else { 3000 });
            }
            "context" => {
                self.keys(kind, fields, &["type", "elements"], &["type", "elements"]);
                let elements = block["elements"].as_array().cloned().unwrap_or_default();
                self.unless((1..=10).contains(&elements.len()), || {
                    format!("{} elements", elements.len())
                });
                elements
                    .iter()
                    .for_each(|element| self.text_object(kind, element, 3000));
            }
            "rich_text" => {
                self.keys(kind, fields, &["type", "elements"], &["type", "elements"]);
                let elements = block["elements"].as_array().cloned().unwrap_or_default();
                self.unless(!elements.is_empty(), || "rich_text is empty".to_owned());
                elements.iter().for_each(|element| self.rich_section(element));
            }
            other => self.0.push(format!("a block of type `{other}`")),
        }
    }

    /// Plain text only: this sink has no use for markup.
    fn text_object(&mut self, what: &str, object: &Value, max: usize) {
        let Some(fields) = object.as_object() else {
            return self.0.push(format!("{what}: no text object: {object}"));
        };
        self.keys(what, fields, &["type", "text", "emoji"], &["type", "text", "emoji"]);
        self.unless(object["type"] == "plain_text", || format!("{what}: {}", object["type"]));
        self.unless(object["emoji"] == false, || format!("{what}: `:emoji:` would be read"));
        let text = self.text(what, &object["text"], max);
        self.escaped(what, &text);
    }

    /// Text elements only: links, users and broadcasts have types of their own.
    fn rich_section(&mut self, section: &Value) {
        let kind = &section["type"];
        let is_known = ["rich_text_section", "rich_text_preformatted"]
            .iter()
            .any(|known| kind == known);
        self.unless(is_known, || format!("rich_text with {kind}"));
        let elements = section["elements"].as_array().cloned().unwrap_or_default();
        self.unless(!elements.is_empty(), || "a section without elements".to_owned());
        for element in &elements {
            let Some(fields) = element.as_object() else {
                self.0.push(format!("no element: {element}"));
                continue;
            };
            self.keys("element", fields, &["type", "text"], &["type", "text", "style"]);
            self.unless(element["type"] == "text", || {
                format!("an element of type {}", element["type"])
            });
            self.text("element", &element["text"], 3000);
            for (style, on) in element["style"].as_object().into_iter().flatten() {
                let known = ["bold", "italic", "strike", "code"].contains(&style.as_str()) && on.is_boolean();
                self.unless(known, || format!("style `{style}`"));
            }
        }
    }

    fn metadata(&mut self, metadata: &Value) {
        let kind = metadata["event_type"].as_str().unwrap_or_default();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        self.unless(!kind.is_empty() && kind.bytes().all(is_word), || {
            format!("metadata of type `{kind}`")
        });
        let flat = metadata["event_payload"].as_object();
        let flat = flat.is_some_and(|payload| payload.values().all(Value::is_string));
        self.unless(flat, || format!("metadata {metadata}"));
    }
}
