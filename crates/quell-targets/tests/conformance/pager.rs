//! The page to people against a real receiver: what arrives verifies, what fails is told apart.

use hmac::{Hmac, KeyInit as _, Mac as _};
use quell_targets::Secret;
use quell_targets::webhook::{Pager, PagerConfig};
use serde_json::{Value, json};

use crate::server::{Asked, Plan, Server, Vendor, Wrong};
use crate::subjects::NOW;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn receiver(vendor: &mut Vendor, asked: &Asked) -> (u16, Value) {
    vendor.effects.push(asked.path.clone());
    (202, Value::Null)
}

fn pager(server: &Server) -> Pager {
    let url = format!("{}/hooks/quell?team=soc", server.base);
    Pager::new(&PagerConfig { url, secrets: vec![Secret::new(SECRET)] }).unwrap()
}

#[tokio::test]
async fn a_page_arrives_signed_and_again_under_the_same_id() {
    let server = Server::start(receiver).await;
    let pager = pager(&server);
    let body = json!({ "type": "quell.case.paged", "data": { "case": "cas_x" } }).to_string();
    pager.deliver("evt_1", body.as_bytes(), NOW).await.unwrap();
    pager.deliver("evt_1", body.as_bytes(), NOW.plus(61_000_000)).await.unwrap();
    let asked = server.vendor.lock().unwrap().asked.clone();
    let header = |asked: &Asked, name: &str| asked.headers[name].to_str().unwrap().to_owned();
    let mut stamps = Vec::new();
    for asked in &asked {
        assert_eq!((asked.path.as_str(), asked.query.as_str()), ("/hooks/quell", "team=soc"));
        assert_eq!(header(asked, "content-type"), "application/json");
        assert_eq!(header(asked, "webhook-id"), "evt_1");
        // as a receiver checks it
        let stamp = header(asked, "webhook-timestamp");
        let key = data_encoding::BASE64.decode(&SECRET.as_bytes()[6..]).unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("evt_1.{stamp}.").as_bytes());
        mac.update(&asked.body);
        let tag = header(asked, "webhook-signature");
        let tag =
            data_encoding::BASE64.decode(tag.strip_prefix("v1,").unwrap().as_bytes()).unwrap();
        mac.verify_slice(&tag).unwrap();
        stamps.push(stamp);
    }
    assert_eq!(stamps, ["1767261600", "1767261661"]);
}

#[tokio::test]
async fn what_fails_is_told_apart() {
    let server = Server::start(receiver).await;
    let pager = pager(&server);
    let mut lines = String::new();
    let faults = [
        Wrong::Status(400),
        Wrong::Status(404),
        Wrong::Status(410),
        Wrong::Status(429),
        Wrong::Status(500),
        Wrong::Status(503),
        Wrong::Redirect(302),
        Wrong::Redirect(307),
        Wrong::Closed,
    ];
    for wrong in faults {
        server.plan(Some(Plan { wrong, happens: false, strikes: |_| true }));
        let (fault, retry_at) = pager.deliver("evt_1", b"{}", NOW).await.unwrap_err().pair();
        let wait = retry_at.map(|t| t.since(NOW) / 1_000_000);
        lines.push_str(&format!("{} {fault} {wait:?}\n", wrong.name()));
    }
    assert_eq!(server.effects(), 0);
    assert!(server.vendor.lock().unwrap().asked.iter().all(|a| a.path == "/hooks/quell"));
    expect_test::expect![[r#"
        400 bad_request None
        404 unknown_subject None
        410 unknown_subject None
        429 throttled Some(30)
        500 indeterminate None
        503 transient None
        302 indeterminate None
        307 bad_request None
        closed indeterminate None
    "#]]
    .assert_eq(&lines);
}
