//! The names of all reasons to wait, as the model's source has them.

const SOURCE: &str = include_str!("../../state/model/src/waiting.rs");

/// The name of every reason, in the order of the source.
pub(crate) fn names() -> Vec<&'static str> {
    let (_, reasons) = SOURCE.split_once("pub enum Reason {").expect("the reasons");
    let (reasons, _) = reasons.split_once("\n}").expect("their end");
    let variants = reasons.lines().filter_map(|line| line.strip_prefix("    "));
    let variants = variants.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    variants.filter_map(|line| line.split(|c: char| !c.is_alphanumeric()).next()).collect()
}
