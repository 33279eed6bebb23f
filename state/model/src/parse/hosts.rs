//! Host ranges: `web-[01:20].example` is twenty hosts.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::read::Text;
use crate::ids::HostName;

/// The largest fleet of one environment.
pub(super) const MAX_HOSTS: usize = 20_000;
const MAX_NAME_BYTES: usize = 253;

const PATTERN: &str =
    r"^([A-Za-z0-9][A-Za-z0-9._-]*|([A-Za-z0-9][A-Za-z0-9._-]*)?\[[0-9]{1,9}:[0-9]{1,9}\][A-Za-z0-9._-]*)$";

/// One host, or a range of them, as written. Expanded only once its size is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostRange {
    prefix: String,
    range: Option<Range>,
    suffix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    first: usize,
    last: usize,
    /// Digits, with zeros in front; 0: as many as needed.
    width: usize,
}

impl HostRange {
    /// How many hosts it stands for.
    pub(super) fn len(&self) -> usize {
        self.range.as_ref().map_or(1, |range| range.last - range.first + 1)
    }

    /// The hosts, in order.
    pub(super) fn hosts(&self) -> impl Iterator<Item = HostName> {
        let Self { prefix, range, suffix } = self;
        let single = range.is_none().then(|| HostName::new(prefix.as_str()));
        let numbered = range.iter().flat_map(move |Range { first, last, width }| {
            (*first..=*last).map(move |number| HostName::new(format!("{prefix}{number:0width$}{suffix}")))
        });
        single.into_iter().chain(numbered)
    }
}

impl Text for HostRange {
    fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_NAME_BYTES {
            return Err(format!("a host name of {} bytes is too long", text.len()));
        }
        let Some((prefix, rest)) = text.split_once('[') else {
            HostName::parse(text)?;
            return Ok(Self { prefix: text.to_owned(), range: None, suffix: String::new() });
        };
        let malformed = || format!("`{text}` is not a host range like `web-[01:20]`");
        let (range, suffix) = rest.split_once(']').ok_or_else(malformed)?;
        if !prefix.is_empty() {
            HostName::parse(prefix)?;
        }
        HostName::parse(&format!("0{suffix}")).map_err(|_| malformed())?;
        let (first, last) = range.split_once(':').ok_or_else(malformed)?;
        let range = Range::parse(first, last).map_err(|problem| match problem {
            Some(problem) => format!("host range `{text}` {problem}"),
            None => malformed(),
        })?;
        Ok(Self { prefix: prefix.to_owned(), range: Some(range), suffix: suffix.to_owned() })
    }
}

impl Range {
    /// The error is what the range does wrong; none: it is no range at all.
    fn parse(first: &str, last: &str) -> Result<Self, Option<String>> {
        let padded = |text: &str| text.len() > 1 && text.starts_with('0');
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 9 {
            true => text.parse::<usize>().map_err(|_| None),
            false => Err(None),
        };
        let width = if padded(first) || padded(last) { first.len() } else { 0 };
        let (start, end) = (number(first)?, number(last)?);
        if start > end {
            return Err(Some("counts down".to_owned()));
        }
        if width > 0 && first.len() != last.len() {
            return Err(Some("has ends of different width".to_owned()));
        }
        if end - start >= MAX_HOSTS {
            return Err(Some(format!("has {} hosts; at most {MAX_HOSTS} are allowed", end - start + 1)));
        }
        Ok(Self { first: start, last: end, width })
    }
}

impl JsonSchema for HostRange {
    fn schema_name() -> Cow<'static, str> {
        "HostRange".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": PATTERN,
            "description": "a host, or a range of hosts like `web-[01:20]`",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expand(text: &str) -> Vec<String> {
        HostRange::parse(text).unwrap().hosts().map(|host| host.to_string()).collect()
    }

    #[test]
    fn a_range_counts_with_the_width_it_is_written_in() {
        assert_eq!(
            expand("web-[08:11].example"),
            ["web-08.example", "web-09.example", "web-10.example", "web-11.example"]
        );
        assert_eq!(expand("web[9:10]"), ["web9", "web10"]);
        assert_eq!(expand("[1:2]-db"), ["1-db", "2-db"]);
        assert_eq!(expand("gitaly-01"), ["gitaly-01"]);
        assert_eq!(expand("10.0.0.7"), ["10.0.0.7"]);
    }

    #[test]
    fn what_is_no_range_is_refused_with_its_reason() {
        let refused = |text| HostRange::parse(text).unwrap_err();
        assert_eq!(refused("web-[20:01]"), "host range `web-[20:01]` counts down");
        assert_eq!(refused("web-[01:100]"), "host range `web-[01:100]` has ends of different width");
        assert_eq!(
            refused("web-[1:20001]"),
            "host range `web-[1:20001]` has 20001 hosts; at most 20000 are allowed"
        );
        for malformed in
            ["web-[01-20]", "web-[01:20", "web-[1:2][3:4]", "web-[a:b]", "w[1:9999999999]", "w[:]", "w[+1:2]"]
        {
            assert_eq!(refused(malformed), format!("`{malformed}` is not a host range like `web-[01:20]`"));
        }
        assert!(refused("-oProxyCommand=reboot").contains("is not a host name"));
        assert!(refused("-[1:2]").contains("is not a host name"));
        assert!(refused("root@web").contains("is not a host name"));
        assert!(refused("").contains("is not a host name"));
    }

    proptest! {
        #[test]
        fn every_range_has_the_hosts_it_spells(first in 0_usize..3000, more in 0_usize..200, width in 4_usize..7) {
            let last = first + more;
            let names = expand(&format!("n-[{first:0width$}:{last:0width$}]-x"));
            let spelled: Vec<String> = (first..=last).map(|number| format!("n-{number:0width$}-x")).collect();
            prop_assert_eq!(names, spelled);
        }

        #[test]
        fn whatever_is_accepted_yields_as_many_safe_names_as_it_says(text in "[-a-z0-9.@\\[\\]:]{0,16}") {
            if let Ok(range) = HostRange::parse(&text) {
                let hosts: Vec<HostName> = range.hosts().collect();
                prop_assert_eq!(hosts.len(), range.len());
                for host in hosts {
                    prop_assert!(HostName::parse(host.as_str()).is_ok(), "{}", host);
                }
            }
        }

        #[test]
        fn the_schemas_pattern_agrees_with_the_parser_on_form(text in "[-a-z0-9.\\[\\]:]{0,12}") {
            if HostRange::parse(&text).is_ok() {
                prop_assert!(regex_lite::Regex::new(PATTERN).unwrap().is_match(&text), "{}", text);
            }
        }
    }
}
