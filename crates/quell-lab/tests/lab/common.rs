//! What the lab's tests share: a browser of sorts, and waiting for a condition without a clock.

use quell_lab::{Options, Person, Place, Provider, Running, company};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

pub(crate) const ALIVE: [bool; 4] = [true; 4];
pub(crate) const DEAD: [bool; 4] = [false; 4];

/// A provider and a client without cookies, redirects and proxies.
pub(crate) struct Lab {
    pub(crate) provider: Running,
    pub(crate) http: reqwest::Client,
}

/// What a sign-in gave.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) session: String,
    pub(crate) refresh: String,
    pub(crate) access: String,
}

impl Lab {
    pub(crate) async fn start(options: Options) -> Self {
        let provider = Provider::start(&company(), options).await.unwrap();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([])
            .no_proxy()
            .build()
            .unwrap();
        Self { provider, http }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.provider.base_url())
    }

    pub(crate) fn admin(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("authorization", format!("SSWS {}", self.provider.token()))
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        let response = self.admin(self.http.get(self.url(path))).send().await.unwrap();
        read(response).await
    }

    pub(crate) async fn sign_in(
        &self,
        person: &Person,
        from: &Place,
    ) -> Result<Access, StatusCode> {
        let body = json!({
            "login": person.address,
            "ip": from.ip,
            "user_agent": from.user_agent,
            "device": from.device,
        });
        let request = self.http.post(self.url("/lab/sign-in"));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let (status, body) = read(request.send().await.unwrap()).await;
        if status != StatusCode::OK {
            return Err(status);
        }
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        Ok(Access {
            session: text("session"),
            refresh: text("refresh_token"),
            access: text("access_token"),
        })
    }

    /// What still opens a door: the cookie and the access token at the resource, the refresh and
    /// the access token at introspection. Nothing of it is an event for the System Log.
    pub(crate) async fn alive(&self, access: &Access) -> [bool; 4] {
        let resource = || self.http.get(self.url("/lab/resource"));
        let cookie = resource().header("cookie", format!("sid={}", access.session));
        let cookie = cookie.send().await.unwrap().status();
        let bearer = resource().bearer_auth(&access.access).send().await.unwrap().status();
        let mut active = [false; 2];
        for (place, token) in [&access.refresh, &access.access].into_iter().enumerate() {
            let (_, body) = self.form("/oauth2/v1/introspect", &[("token", token)]).await;
            active[place] = body["active"].as_bool().unwrap();
        }
        let door = |status: StatusCode| match status.as_u16() {
            200 => true,
            401 => false,
            other => panic!("the resource answered {other}"),
        };
        [door(cookie), door(bearer), active[0], active[1]]
    }

    /// Asks until the wanted state is there.
    pub(crate) async fn until(&self, access: &Access, want: [bool; 4]) {
        for _ in 0..100_000 {
            if self.alive(access).await == want {
                return;
            }
        }
        panic!("never {want:?}");
    }

    pub(crate) async fn refresh(&self, access: &Access) -> (StatusCode, Value) {
        let form = [("grant_type", "refresh_token"), ("refresh_token", access.refresh.as_str())];
        self.form("/oauth2/v1/token", &form).await
    }

    pub(crate) async fn form(&self, path: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let (id, secret) = self.provider.client();
        let request = self.http.post(self.url(path)).basic_auth(id, Some(secret)).form(form);
        read(request.send().await.unwrap()).await
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Response {
        self.admin(request).send().await.unwrap()
    }
}

/// Somebody of the company.
pub(crate) fn person(handle: &str) -> Person {
    company().person(handle).unwrap().clone()
}

/// The immutable id of somebody.
pub(crate) fn id(person: &Person) -> String {
    person.account().unwrap().id.clone()
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    (status, serde_json::from_slice(&body(response).await).unwrap_or(Value::Null))
}

/// The body, which is never large here.
pub(crate) async fn body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
        assert!(body.len() < 1 << 20);
    }
    body
}
