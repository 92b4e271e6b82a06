//! Tools that a machine may lack: skip with a reason, or fail where they are demanded.

/// Names the tools that must be there, separated by commas, so that a skip becomes a failure.
const REQUIRE: &str = "BURN_VLM_REQUIRE";

/// What `search` found, or `None` after printing why the test is skipped.
///
/// # Panics
///
/// Panics if the tool is missing and `BURN_VLM_REQUIRE` names it.
pub(crate) fn or_skip<T>(tool: &str, search: Result<T, String>) -> Option<T> {
    let missing = match search {
        Ok(found) => return Some(found),
        Err(reason) => reason,
    };
    let required = std::env::var(REQUIRE).unwrap_or_default();
    assert!(
        !is_named(tool, &required),
        "{REQUIRE} demands `{tool}`: {missing}"
    );
    eprintln!("SKIPPED: no `{tool}`: {missing}");
    None
}

fn is_named(tool: &str, list: &str) -> bool {
    list.split(',').any(|name| name.trim() == tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_a_skip() {
        assert_eq!(
            or_skip("a tool nobody has", Err::<(), _>("not installed".into())),
            None
        );
        assert_eq!(or_skip("a tool", Ok(7)), Some(7));
    }

    #[test]
    fn only_whole_names_in_the_list_are_required() {
        assert!(is_named("nvrtc", "emulated, nvrtc"));
        assert!(!is_named("nvrtc", "nvrtc2,emulated"));
        assert!(!is_named("nvrtc", ""));
    }
}
