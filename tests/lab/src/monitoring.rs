//! The monitoring host: Prometheus, Alertmanager and the Pushgateway of Debian's packages.

use crate::error::LabError;
use crate::host::Host;
use crate::install::await_that;
use crate::lab::Lab;
use crate::program::{failure, finish};
use crate::spec::HostKind;

const PROMETHEUS: &str = "global:
  scrape_interval: 1s
  scrape_timeout: 1s
  evaluation_interval: 1s
rule_files: [/etc/prometheus/lab.rules.yml]
alerting:
  alertmanagers: [{static_configs: [{targets: ['127.0.0.1:9093']}]}]
scrape_configs:
  - job_name: pushgateway
    honor_labels: true
    static_configs: [{targets: ['127.0.0.1:9091']}]
";

const RULES: &str = "groups:
  - name: lab
    rules:
      - {alert: Watchdog, expr: vector(1)}
      - {alert: LabAlarm, expr: lab_alarm == 1}
";

const ALERTMANAGER: &str = "global: {resolve_timeout: 5s}
route: {receiver: nobody, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: nobody}]
";

/// Prometheus tells Alertmanager every second what fires, so that its silence is noticed after four.
const FILES: [(&str, &str); 6] = [
    ("/etc/prometheus/prometheus.yml", PROMETHEUS),
    ("/etc/prometheus/lab.rules.yml", RULES),
    ("/etc/prometheus/alertmanager.yml", ALERTMANAGER),
    ("/etc/default/prometheus", "ARGS=\"--rules.alert.resend-delay=1s\"\n"),
    ("/etc/default/prometheus-alertmanager", "ARGS=\"--cluster.listen-address=\"\n"),
    ("/etc/default/prometheus-pushgateway", "ARGS=\"\"\n"),
];

/// Starts the three on a booted host and waits until the Watchdog has gone all the way.
pub(crate) fn start(host: &Host) -> Result<(), LabError> {
    for (path, text) in FILES {
        host.write(path, text)?;
    }
    host.expect(
        "systemctl enable --quiet --now prometheus-pushgateway.service prometheus-alertmanager.service \
         prometheus.service",
    )?;
    let monitoring = Monitoring { host };
    let alerts = format!("{}/api/v2/alerts", monitoring.alertmanager());
    monitoring.await_answer("the Watchdog to reach Alertmanager", &alerts, "Watchdog")?;
    // What is cleared before its first scrape it would remember for minutes: from before it was started.
    let targets = format!("{}/api/v1/targets?state=active", monitoring.prometheus());
    monitoring.await_answer("Prometheus to have scraped the Pushgateway", &targets, r#""health":"up""#)
}

/// The monitoring of a lab. What fires reaches Alertmanager within about two seconds, and so does its end.
#[derive(Debug, Clone, Copy)]
pub struct Monitoring<'a> {
    host: &'a Host,
}

impl Lab {
    /// The lab's monitoring, if it has a host for it.
    pub fn monitoring(&self) -> Result<Monitoring<'_>, LabError> {
        let host = self.hosts_of(HostKind::Monitoring).next();
        let host = host.ok_or_else(|| LabError::NoSuchHost {
            lab: self.name().to_owned(),
            host: "for monitoring".to_owned(),
            known: self.hosts().iter().map(Host::name).collect::<Vec<_>>().join(", "),
        })?;
        Ok(Monitoring { host })
    }
}

impl Monitoring<'_> {
    /// The base URL of Prometheus.
    pub fn prometheus(&self) -> String {
        format!("http://{}:9090", self.host.address())
    }

    /// The base URL of Alertmanager.
    pub fn alertmanager(&self) -> String {
        format!("http://{}:9093", self.host.address())
    }

    /// The base URL of the Pushgateway.
    pub fn pushgateway(&self) -> String {
        format!("http://{}:9091", self.host.address())
    }

    /// Makes Prometheus see a cause for alarm: the alert `LabAlarm` fires with the label `alarm` and these labels,
    /// until it is cleared.
    pub fn fire(&self, alarm: &str, labels: &[(&str, &str)]) -> Result<(), LabError> {
        self.push(&[("job", "lab"), ("alarm", alarm)], &format!("lab_alarm{{{}}} 1\n", series(labels)))
    }

    /// Takes the cause for that alarm away; one that never fired is fine.
    pub fn clear(&self, alarm: &str) -> Result<(), LabError> {
        let group = group(&self.pushgateway(), &[("job", "lab"), ("alarm", alarm)]);
        self.curl(&["-fsS", "-X", "DELETE"], &group, None).map(drop)
    }

    /// Sets one series for Prometheus to scrape. It keeps that value until it gets another. Prometheus gives it
    /// a label `job="push"` beside these. No value of a label may be empty or hold a slash.
    pub fn push_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), LabError> {
        let grouping: Vec<_> = [("job", "push")].into_iter().chain(labels.iter().copied()).collect();
        self.push(&grouping, &format!("{name} {value}\n"))
    }

    /// Prometheus stops at once: its alerts, the Watchdog among them, end in Alertmanager about four seconds later.
    pub fn stop_prometheus(&self) -> Result<(), LabError> {
        self.host
            .expect("systemctl kill --signal=KILL prometheus.service; systemctl stop prometheus.service")
            .map(drop)
    }

    /// Starts it again, and waits until the Watchdog fires.
    pub fn start_prometheus(&self) -> Result<(), LabError> {
        start(self.host)
    }

    /// Tells Alertmanager itself of an alert, which ends after so many seconds; 0 ends it now. The labels must hold
    /// an `alertname`.
    pub fn post_alert(&self, labels: &[(&str, &str)], seconds: u32) -> Result<(), LabError> {
        let ends = self.time_in(seconds)?;
        let body = format!("[{{\"labels\":{{{}}},\"endsAt\":\"{ends}\"}}]", json(labels));
        self.post("/api/v2/alerts", &body).map(drop)
    }

    /// Silences alerts with all of these labels for so many seconds.
    pub fn silence(&self, labels: &[(&str, &str)], seconds: u32) -> Result<(), LabError> {
        let matchers: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{{\"name\":{name:?},\"value\":{value:?},\"isRegex\":false}}"))
            .collect();
        let body = format!(
            "{{\"matchers\":[{}],\"startsAt\":\"{}\",\"endsAt\":\"{}\",\"createdBy\":\"lab\",\"comment\":\"lab\"}}",
            matchers.join(","),
            self.time_in(0)?,
            self.time_in(seconds)?,
        );
        self.post("/api/v2/silences", &body).map(drop)
    }

    /// The names of the alerts that fire in Alertmanager and are not silenced, sorted, each as often as it fires.
    pub fn firing(&self) -> Result<Vec<String>, LabError> {
        let url = format!("{}/api/v2/alerts?active=true&silenced=false&inhibited=false", self.alertmanager());
        let answer = self.curl(&["-fsS"], &url, None)?;
        let not_understood = |detail: String| LabError::Unexpected { what: url.clone(), detail };
        let alerts: Vec<serde_json::Value> =
            serde_json::from_str(&answer).map_err(|error| not_understood(error.to_string()))?;
        let name = |alert: &serde_json::Value| Some(alert["labels"]["alertname"].as_str()?.to_owned());
        let mut names: Vec<String> = alerts.iter().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// Waits until what answers at a URL, once it is up, says a word.
    fn await_answer(&self, what: &str, url: &str, word: &str) -> Result<(), LabError> {
        await_that(what, || {
            Ok(match self.curl(&["-fsS"], url, None) {
                Ok(answer) if answer.contains(word) => Ok(()),
                Ok(answer) => Err(answer),
                Err(error) => Err(error.to_string()),
            })
        })
    }

    fn push(&self, grouping: &[(&str, &str)], text: &str) -> Result<(), LabError> {
        let group = group(&self.pushgateway(), grouping);
        self.curl(&["-fsS", "-X", "PUT", "--data-binary", "@-"], &group, Some(text)).map(drop)
    }

    fn post(&self, path: &str, body: &str) -> Result<String, LabError> {
        let options = ["-fsS", "-H", "Content-Type: application/json", "--data-binary", "@-"];
        self.curl(&options, &format!("{}{path}", self.alertmanager()), Some(body))
    }

    /// The host's own clock, which is what Alertmanager goes by.
    fn time_in(&self, seconds: u32) -> Result<String, LabError> {
        let time = self.host.expect(&format!("date -u -d '+{seconds} seconds' +%Y-%m-%dT%H:%M:%S.%3NZ"))?;
        Ok(time.trim().to_owned())
    }

    fn curl(&self, arguments: &[&str], url: &str, body: Option<&str>) -> Result<String, LabError> {
        let mut curl = self.host.command("curl")?;
        curl.args(["-m", "10"]).args(arguments).arg(url);
        let output = finish(&mut curl, body.map(str::as_bytes))?;
        if output.success() {
            Ok(output.stdout)
        } else {
            Err(failure("talk to the monitoring", &curl, &output))
        }
    }
}

/// The address of one group of pushed series.
fn group(pushgateway: &str, grouping: &[(&str, &str)]) -> String {
    let path: String = grouping.iter().map(|(name, value)| format!("/{name}/{value}")).collect();
    format!("{pushgateway}/metrics{path}")
}

/// Labels as the text format of Prometheus has them.
fn series(labels: &[(&str, &str)]) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(",")
}

fn json(labels: &[(&str, &str)]) -> String {
    labels.iter().map(|(name, value)| format!("{name:?}:{value:?}")).collect::<Vec<_>>().join(",")
}
