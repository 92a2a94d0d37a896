//! Which names no setting may have as a variable: whoever may write a setting must not decide by it which code runs,
//! or where it reads and writes. What the surroundings of `settled run` set is the command's as before.

/// Names, or beginnings of names where they end in `*`, and what such a variable decides.
const REFUSED: &[(&[&str], &str)] = &[
    (&["SETTLED_*"], "where Settled's own programs ask, and by which key"),
    (&["PATH", "CDPATH"], "which programs are run"),
    (&["LD_*", "DYLD_*", "GLIBC_TUNABLES", "GCONV_PATH", "LOCPATH"], "what is loaded into every program"),
    (
        &["BASH_ENV", "BASHOPTS", "ENV", "IFS", "PROMPT_COMMAND", "PS4", "SHELLOPTS", "ZDOTDIR"],
        "what shells run, or how they read it",
    ),
    (&["SHELL", "EDITOR", "VISUAL", "PAGER", "BROWSER", "GIT_*"], "which programs other programs run"),
    (
        &["HOME", "LOGNAME", "PWD", "OLDPWD", "TMPDIR", "USER", "XDG_*"],
        "where programs read their configuration and write their files",
    ),
    (&["NODE_OPTIONS", "NODE_PATH", "NODE_REPL_EXTERNAL_MODULE"], "what Node.js loads and runs"),
    (&["PYTHON*"], "what Python loads and runs"),
    (&["PERL5*", "PERLLIB", "PERL_*"], "what Perl loads and runs"),
    (&["RUBYLIB", "RUBYOPT", "GEM_HOME", "GEM_PATH", "BUNDLE_*"], "what Ruby loads and runs"),
    (&["CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"], "what Java loads and runs"),
    (&["CORECLR_*", "DOTNET_STARTUP_HOOKS"], "what .NET loads and runs"),
    (
        &["LUA_*", "PHPRC", "PHP_INI_SCAN_DIR", "ERL_*", "ELIXIR_ERL_OPTIONS"],
        "what its interpreter loads and runs",
    ),
    (&["CARGO_*", "RUSTC*", "RUSTFLAGS", "RUSTUP_*"], "what Rust's tools run"),
    (&["SSLKEYLOGFILE"], "where the keys of encrypted connections are written"),
];

/// What a variable of this name decides, where that is not for a setting to decide.
pub fn refused(name: &str) -> Option<&'static str> {
    let is_meant = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => name == *pattern,
    };
    REFUSED.iter().find(|(patterns, _)| patterns.iter().any(is_meant)).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_refused_whole_or_by_its_beginning() {
        for name in
            ["PATH", "LD_PRELOAD", "LD_X", "DYLD_INSERT_LIBRARIES", "BASH_ENV", "IFS", "SHELL", "HOME"]
        {
            assert!(refused(name).is_some(), "{name}");
        }
        for name in ["NODE_OPTIONS", "PYTHONPATH", "PYTHONSTARTUP", "PERL5LIB", "SETTLED_API_KEY"] {
            assert!(refused(name).is_some(), "{name}");
        }
        for name in ["PATHS", "API_PATH", "HOMEPAGE", "LDAP_URL", "NODE_ENV", "ENVIRONMENT", "DATABASE_URL"] {
            assert_eq!(refused(name), None, "{name}");
        }
    }
}
