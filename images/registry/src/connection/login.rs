//! How we say who we are, once the registry has asked: by password, or by a token of the server that it names.

use serde::Deserialize;
use ureq::Body;
use ureq::http::{Method, Response, StatusCode, header};

use super::challenge::{self, Challenge};
use super::{Access, Call, Connection, Failure, LARGEST_ANSWER, status_error, whole_body};
use crate::Error;
use crate::credentials::Known;

impl Connection {
    /// What the header `Authorization` must be to meet the challenge in an answer.
    pub(super) fn authorize(&self, response: &Response<Body>) -> Result<String, Failure> {
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
        match challenge::choose(challenges.iter().filter_map(|value| value.to_str().ok())) {
            Some(Challenge::Basic) => match &self.known {
                Known::Login(login) => Ok(login.basic()),
                Known::Identity(_) | Known::Helper(_) | Known::Nobody => Err(self.denied().into()),
            },
            Some(Challenge::Bearer { realm, service }) => self.token(&realm, service.as_deref()),
            None => Err(self.denied().into()),
        }
    }

    /// Asks a token server (distribution's "Token Authentication Specification").
    fn token(&self, realm: &str, service: Option<&str>) -> Result<String, Failure> {
        let at = self.whole(realm)?;
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let scope = format!("repository:{}:{actions}", self.address.repository);
        let mut query = vec![("scope", scope.as_str()), ("client_id", "overboot")];
        query.extend(service.map(|service| ("service", service)));
        if let Known::Identity(token) = &self.known {
            query.extend([("grant_type", "refresh_token"), ("refresh_token", token)]);
        }
        let query: Vec<_> =
            query.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
        let query = query.join("&");
        let call = Call::new(&Method::GET, realm);
        let sent = if let Known::Identity(_) = &self.known {
            let form = "application/x-www-form-urlencoded";
            self.agent.post(&at).content_type(form).send(&query)
        } else {
            let separator = if realm.contains('?') { '&' } else { '?' };
            let mut request = self.agent.get(format!("{at}{separator}{query}"));
            if let Known::Login(login) = &self.known {
                request = request.header(header::AUTHORIZATION, login.basic());
            }
            request.call()
        };
        let response = sent.map_err(|error| self.failure(&call, &at, error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.denied().into()),
            status if status.is_server_error() => {
                return Err(Failure::Again(status_error(&call, response)));
            }
            _ => return Err(status_error(&call, response).into()),
        }
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let bytes = whole_body(&call, response, LARGEST_ANSWER)?;
        let answer = serde_json::from_slice::<Answer>(&bytes).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        let fine = |token: &String| token.bytes().all(|b| b.is_ascii_graphic());
        match token.filter(fine) {
            Some(token) => Ok(format!("Bearer {token}")),
            None => Err(Error::document(call.shown(), "it answers without a token").into()),
        }
    }

    pub(super) fn denied(&self) -> Error {
        let (who, helper) = match &self.known {
            Known::Login(login) => (format!("the user {}", login.username), None),
            Known::Identity(_) => ("this login".to_owned(), None),
            Known::Helper(file) => ("anybody without a login".to_owned(), Some(file.clone())),
            Known::Nobody => ("anybody without a login".to_owned(), None),
        };
        Error::Denied {
            host: self.address.authority().to_owned(),
            repository: self.address.repository.clone(),
            action: match self.access {
                Access::Pull => "pull from",
                Access::Push => "push to",
            },
            who,
            helper,
        }
    }
}

/// As it may stand in a query (RFC 3986, 2.3).
fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
