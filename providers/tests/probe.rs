//! Probes from here, against a real server.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

#[path = "loopback/web.rs"]
mod web;

use model::HealthState;
use providers::observe::Prober;
use web::Web;

fn words(state: HealthState) -> String {
    match state {
        HealthState::Healthy => "healthy".to_owned(),
        HealthState::Unhealthy(words) => words,
    }
}

#[tokio::test]
async fn only_2xx_is_healthy() {
    let web = Web::start();
    let prober = Prober::new().unwrap();
    let ask = async |path: &str| words(prober.http(&format!("http://{}{path}", web.address)).await);
    assert_eq!(ask("/").await, "healthy");
    assert!(ask("/broken").await.ends_with("/broken: 503 Service Unavailable"));
    assert!(ask("/moved").await.ends_with("/moved: 302 Found"), "a redirect is not followed");
    assert!(ask("/slow").await.ends_with("/slow: no answer in 2 s"));
    web.open();
    assert_eq!(ask("/slow").await, "healthy");
}

#[tokio::test]
async fn a_port_is_healthy_when_it_takes_a_connection() {
    let web = Web::start();
    let prober = Prober::new().unwrap();
    assert_eq!(words(prober.tcp(&web.address.to_string()).await), "healthy");
    assert!(words(prober.tcp("127.0.0.1:1").await).contains("refused"));
    assert!(words(prober.http("http://127.0.0.1:1/").await).contains("refused"));
}
