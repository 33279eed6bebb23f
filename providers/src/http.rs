//! One request over HTTP: one attempt, with a deadline, no redirect and no proxy.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode, Url};

/// What does not answer in this time is as good as down.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Longer answers are not for us, and must not fill the memory.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// A connection is kept for requests that follow at once; after a pause the other side may have closed it.
const KEPT: Duration = Duration::from_secs(1);

/// Asks servers.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
}

/// Why there is no answer. Its text holds no secret: neither a query nor credentials of an address.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The client cannot be set up.
    #[error("cannot set up the http client")]
    SetUp(#[source] reqwest::Error),
    /// An address is none.
    #[error("`{url}` is not an http address: {detail}")]
    Address {
        /// As it was written.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A request cannot be put together.
    #[error("cannot write a request")]
    Request(#[source] reqwest::Error),
    /// No whole answer in time; whether the request had its effect is unknown.
    #[error("{asked}: no answer in {deadline_s} s")]
    TimedOut {
        /// Method and address.
        asked: String,
        /// How long we waited.
        deadline_s: u64,
    },
    /// No connection, or it broke.
    #[error("{asked}: no answer")]
    Unreachable {
        /// Method and address.
        asked: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is too long.
    #[error("{asked}: answers more than {MAX_ANSWER_BYTES} bytes")]
    TooLong {
        /// Method and address.
        asked: String,
    },
}

/// What a server answered, whatever its status.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Method and address, for people.
    pub(crate) asked: String,
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

impl Http {
    /// A client that verifies certificates with the system's authorities.
    ///
    /// # Errors
    /// The TLS library cannot be set up.
    pub fn new() -> Result<Self, HttpError> {
        let client = reqwest::Client::builder()
            .timeout(DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_idle_timeout(KEPT)
            .build()
            .map_err(HttpError::SetUp)?;
        Ok(Self { client })
    }

    /// A request to be completed and given to [`Http::send`].
    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request, and reads the whole answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, HttpError> {
        let request = request.build().map_err(HttpError::Request)?;
        let asked = format!("{} {}", request.method(), shown(request.url()));
        let deadline_s = request.timeout().unwrap_or(&DEADLINE).as_secs();
        let broken = |source: reqwest::Error| {
            let asked = asked.clone();
            if source.is_timeout() {
                return HttpError::TimedOut { asked, deadline_s };
            }
            HttpError::Unreachable { asked, source: source.without_url() }
        };
        let mut response = self.client.execute(request).await.map_err(broken)?;
        let (status, mut body) = (response.status(), Vec::new());
        while let Some(part) = response.chunk().await.map_err(broken)? {
            body.extend_from_slice(&part);
            if body.len() > MAX_ANSWER_BYTES {
                return Err(HttpError::TooLong { asked: asked.clone() });
            }
        }
        Ok(Answer { asked, status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

impl HttpError {
    /// The error and its innermost cause, in one line.
    pub fn words(&self) -> String {
        let mut cause: &dyn std::error::Error = self;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let (outer, inner) = (self.to_string(), cause.to_string());
        if outer == inner { outer } else { format!("{outer}: {inner}") }
    }
}

/// An address below another; each part is one segment, whatever is in it.
pub(crate) fn below(base: &str, parts: &[&str]) -> Result<Url, HttpError> {
    let wrong = |detail: &str| HttpError::Address { url: base.to_owned(), detail: detail.to_owned() };
    let mut url = Url::parse(base).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it begins with neither http:// nor https://"));
    }
    url.path_segments_mut().map_err(|()| wrong("it cannot have a path"))?.pop_if_empty().extend(parts);
    Ok(url)
}

/// An address without what may be secret in it.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    // They fail for addresses that can hold no credentials, and then there are none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// A text from outside as one line of bounded length.
pub(crate) fn one_line(text: &str) -> String {
    const MAX_CHARS: usize = 500;
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX_CHARS {
        return line;
    }
    line.chars().take(MAX_CHARS).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_address_stays_one_part() {
        let url = below("http://gitlab.example/git/", &["projects", "group/shop", "x"]).unwrap();
        assert_eq!(url.as_str(), "http://gitlab.example/git/projects/group%2Fshop/x");
        assert!(below("ftp://x", &[]).is_err() && below("x", &[]).is_err());
    }

    #[test]
    fn an_address_is_shown_without_secrets() {
        let url = Url::parse("http://me:secret@host/path?token=secret").unwrap();
        assert_eq!(shown(&url), "http://host/path");
    }

    #[test]
    fn a_text_becomes_one_line() {
        assert_eq!(one_line(" a\n b\u{7}c\t"), "a b c");
        assert_eq!(one_line(&"x".repeat(600)).chars().count(), 501);
    }
}
