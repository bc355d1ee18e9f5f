//! Entra ID, assertions: what another reader of JOSE makes of them, and which texts are refused.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use data_encoding::BASE64_MIME;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;

use super::*;

/// A key of this run, its certificate (of which only the digest counts) and the public half.
fn pair() -> (String, String, Vec<u8>) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let key = pem("PRIVATE KEY", der.as_ref());
    (key, pem("CERTIFICATE", b"the DER of a certificate"), pair.public_key().as_ref().to_vec())
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = BASE64_MIME.encode(der);
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", body.trim_end())
}

#[test]
fn an_assertion_is_what_the_login_host_wants() {
    let (key, certificate, public) = pair();
    let now = Time(1_767_261_600 * SECOND + 250_000);
    let mut ids = Vec::new();
    for text in [format!("{certificate}{key}"), format!("{key}\n# of 2026\n{certificate}")] {
        let signer = Signer::new(&Secret::new(text)).unwrap();
        let audience = "https://login.example.com/tenant/oauth2/v2.0/token";
        let signed = signer.sign("the-client", audience, now).unwrap();
        let header = jsonwebtoken::decode_header(signed.reveal()).unwrap();
        assert_eq!((header.alg, header.typ.as_deref()), (Algorithm::PS256, Some("JWT")));
        let thumb = BASE64URL_NOPAD.encode(&Sha256::digest(b"the DER of a certificate"));
        assert_eq!(header.x5t_s256, Some(thumb));
        let mut validation = Validation::new(Algorithm::PS256);
        validation.set_audience(&[audience]);
        validation.set_issuer(&["the-client"]);
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let key = DecodingKey::from_rsa_der(&public);
        let claims = jsonwebtoken::decode::<Value>(signed.reveal(), &key, &validation);
        let claims = claims.unwrap().claims;
        let number = |name: &str| claims[name].as_i64().unwrap() - 1_767_261_600;
        assert_eq!((number("nbf"), number("iat"), number("exp")), (-60, 0, 540));
        assert_eq!(claims["sub"], "the-client");
        ids.push(claims["jti"].as_str().unwrap().to_owned());
        assert!(!format!("{signer:?}").contains("PRIVATE"));
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn texts_that_prove_nobody_are_refused() {
    let (key, certificate, _) = pair();
    let check = |text: String, want: &str| {
        let told = Signer::new(&Secret::new(text)).unwrap_err().to_string();
        assert_eq!(told, format!("`certificate` is not usable: {want}"));
    };
    check(key.clone(), "it holds no certificate in PEM");
    check(String::new(), "it holds no certificate in PEM");
    check(certificate.clone(), "it holds no private key in PEM (`PRIVATE KEY`)");
    let no_key = "its private key is no RSA key that can be read";
    check(format!("{certificate}{}", pem("PRIVATE KEY", b"nothing")), no_key);
    let broken = certificate.replace('\n', "\n*");
    check(format!("{broken}{key}"), "its certificate is no base64");
    let slack = "-----BEGIN CERTIFICATE-----\nAB==\n-----END CERTIFICATE-----\n";
    check(format!("{slack}{key}"), "its certificate is no base64");
}
