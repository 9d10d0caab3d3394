//! Signing in: with the credentials themselves, or with a token for one repository.

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use serde::Deserialize;

use super::challenge::Challenge;
use super::{DENIED, Registry, refusal};
use crate::endpoint::Credentials;
use crate::error::{Error, Result};
use crate::limits::{REDIRECTS, TOKEN_BYTES};

/// Some servers give both, or one that is empty.
#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

impl Registry {
    /// Whether the registry takes the credentials.
    ///
    /// # Errors
    /// It does not, or cannot be asked.
    pub(crate) async fn check_login(&self) -> Result<()> {
        let url = format!("{}://{}/v2/", self.scheme, self.host);
        let url = Url::parse(&url).map_err(|e| self.refused(e.to_string()))?;
        self.get(url, "*/*", None).await.map(drop)
    }

    /// Answers a challenge.
    pub(super) async fn sign_in(&self, headers: &HeaderMap) -> Result<()> {
        let offered = headers.get_all(WWW_AUTHENTICATE).iter();
        let challenge = Challenge::choose(offered.filter_map(|value| value.to_str().ok()));
        let value = match challenge {
            Some(Challenge::Basic) => match &self.credentials {
                Some(credentials) => basic(credentials),
                None => return Err(self.refused(DENIED.to_string())),
            },
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
            }) => format!("Bearer {}", self.token(&realm, service, scope).await?),
            None => return Err(self.refused("it wants a kind of sign-in that is not known".into())),
        };
        let value = self.secret_header(&value)?;
        if let Ok(mut authorization) = self.authorization.lock() {
            *authorization = Some(value);
        }
        Ok(())
    }

    fn secret_header(&self, value: &str) -> Result<HeaderValue> {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| self.refused("what it is signed in with fits in no header".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<String> {
        let mut url = Url::parse(realm)
            .map_err(|_| self.refused("its token server is no valid URL".to_string()))?;
        let own =
            (!self.repository.is_empty()).then(|| format!("repository:{}:pull", self.repository));
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .extend_pairs(scope.or(own).map(|scope| ("scope", scope)));
        let response = self.token_answer(url).await?;
        let status = response.status();
        let again = refusal::again(status, response.headers());
        let json = self.body(response, "the token", TOKEN_BYTES).await?;
        if !status.is_success() {
            let meaning = refusal::meaning(status, &json);
            let reason = format!("its token server: {meaning}");
            // What may pass is tried again from the beginning.
            return Err(match again {
                Some(_) => self.unreachable(reason),
                None => self.refused(reason),
            });
        }
        let given = |token: Option<String>| token.filter(|token| !token.is_empty());
        serde_json::from_slice::<Token>(&json)
            .ok()
            .and_then(|token| given(token.token).or(given(token.access_token)))
            .ok_or_else(|| self.refused("its token server gave no token".to_string()))
    }

    /// Follows redirects; only the server that the registry named sees the credentials.
    async fn token_answer(&self, first: Url) -> Result<reqwest::Response> {
        let mut url = first.clone();
        for _ in 0..=REDIRECTS {
            self.check_target(&url, "sends credentials")?;
            let mut request = self.client(&url)?.get(url.clone());
            let credentials = self.credentials.as_ref();
            if let Some(credentials) = credentials.filter(|_| url.origin() == first.origin()) {
                request = request.header(AUTHORIZATION, self.secret_header(&basic(credentials))?);
            }
            let response = self.answer(request).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION);
            let target = location.and_then(|l| url.join(l.to_str().ok()?).ok());
            url =
                target.ok_or_else(|| self.refused("its token server redirects nowhere".into()))?;
        }
        Err(self.refused("its token server redirects in circles".to_string()))
    }
}

/// Whether a registry takes credentials: for `windlass login`.
///
/// # Errors
/// [`Error::Registry`] when it does not; [`Error::Unreachable`].
pub async fn check_login(
    host: &str,
    credentials: Credentials,
    hosts: &crate::hosts::Hosts,
) -> Result<(), Error> {
    Registry::of_host(host, credentials, hosts)
        .check_login()
        .await
}

fn basic(credentials: &Credentials) -> String {
    use base64::Engine as _;
    let pair = format!("{}:{}", credentials.username, credentials.password);
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}
