//! `http`, by curl.

use serde_json::json;

use crate::harness::clients::{curl, has};
use crate::{event, lure};

#[test]
fn a_login_by_curl_is_a_credential_without_its_password() {
    if !has("curl") {
        return;
    }
    let trap = lure("service = \"http\"");
    let url = format!("http://admin:hunter22@{}/manager", trap.address("lure"));
    curl(&[&url]);
    let seen = event(&trap, "decoy-credential", &[("/user/name", json!("admin"))]);
    assert_eq!(seen["honeyport"]["credential"]["secret_length"], 8);
    assert!(!seen.to_string().contains("hunter22"), "{seen:#}");
}
