//! Binary room, client: the command line's way to a running engine, on loopback with its token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use crate::config::Place;
use crate::fault::Fault;
use crate::secret;
use crate::server::tls;

/// A connection to the control listener.
pub(crate) struct Client {
    base: String,
    token: String,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

/// Bytes that an answer may have: bundles come this way.
const ANSWER_MAX: usize = 4 << 30;

impl Client {
    /// From the configuration.
    pub(crate) fn new(place: &Place) -> Result<Self, Fault> {
        let reference = place.settings.cli_token.as_deref().ok_or_else(|| {
            Fault::config("`cli_token` is not set", "write `cli_token = \"file:admin.token\"`")
        })?;
        let token = secret::resolve(&place.folder, reference)?;
        let listen = &place.settings.listen;
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(60));
        if let Some(files) = &listen.control_tls {
            http = http.tls_backend_preconfigured(tls::pinned(&place.folder, files)?);
        }
        let http = http.build().map_err(|e| Fault::unreachable(&e))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Fault::unreachable(&e))?;
        let scheme = if listen.control_tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{}", reachable(listen.control));
        Ok(Self { base, token, http, runtime })
    }

    /// GET, as bytes.
    pub(crate) fn bytes(&self, path: &str) -> Result<Vec<u8>, Fault> {
        let request = self.http.get(format!("{}{path}", self.base));
        self.send(request)
    }

    /// GET, as JSON.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Fault> {
        parse(&self.bytes(path)?)
    }

    /// POST of JSON, answered by JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Fault> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        parse(&self.send(request)?)
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, Fault> {
        self.runtime.block_on(capped(request.bearer_auth(&self.token), ANSWER_MAX))
    }
}

/// Where a listener on this machine is reached; one on every address is reached on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Sends a request and reads at most so many bytes of the answer.
pub(crate) async fn capped(
    request: reqwest::RequestBuilder,
    most: usize,
) -> Result<Vec<u8>, Fault> {
    let mut response = request.send().await.map_err(|e| {
        let url = e.url().map(ToString::to_string).unwrap_or_default();
        Fault::unreachable(&format!("no answer from {url}: {}", kind(&e)))
    })?;
    let status = response.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| Fault::unreachable(&e))? {
        if bytes.len() + chunk.len() > most {
            return Err(Fault::refused("the answer is too long"));
        }
        bytes.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(bytes);
    }
    let told = parse(&bytes).ok();
    let message = told.as_ref().and_then(|v| v.get("error")).and_then(Value::as_str);
    Err(Fault::refused(message.unwrap_or(status.as_str()).to_owned()))
}

fn kind(error: &reqwest::Error) -> &'static str {
    if error.is_connect() {
        "nothing listens there"
    } else if error.is_timeout() {
        "it does not answer in time"
    } else {
        "the connection broke"
    }
}

fn parse(bytes: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(bytes).map_err(|e| Fault::unreachable(&e))
}
