//! Health as it is asked from here: HTTP and TCP.

use std::time::Duration;

use model::HealthState;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::verdict;

/// A server that needs longer is not well enough for traffic, and a look at a host should not take longer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Probes cannot be made here.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the client for http probes")]
pub struct ProberError(#[source] reqwest::Error);

/// Asks hosts whether they are well.
#[derive(Clone, Debug)]
pub struct Prober {
    client: reqwest::Client,
}

impl Prober {
    /// A prober that follows no redirect, uses no proxy and keeps no connection: each answer is by a fresh one.
    ///
    /// # Errors
    /// The TLS library cannot be set up.
    pub fn new() -> Result<Self, ProberError> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .map_err(ProberError)?;
        Ok(Self { client })
    }

    /// Healthy when a GET answers 2xx within 2 s.
    pub async fn http(&self, url: &str) -> HealthState {
        let answer = self.client.get(url).send().await;
        verdict(match answer {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("GET {url}: {}", response.status())),
            Err(error) if error.is_timeout() => {
                Err(format!("GET {url}: no answer in {} s", TIMEOUT.as_secs()))
            }
            Err(error) => Err(format!("GET {url}: {}", innermost(&error))),
        })
    }

    /// Healthy when `host:port` accepts a connection within 2 s.
    pub async fn tcp(&self, address: &str) -> HealthState {
        verdict(match timeout(TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("{address}: {error}")),
            Err(_) => Err(format!("{address}: no connection in {} s", TIMEOUT.as_secs())),
        })
    }
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
