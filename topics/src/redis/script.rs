//! The scripts, and calls of them.

use redis::Cmd;

/// What Redis runs in one step. The first line of a script says what it may do: one that does not
/// write runs when Redis has no memory left, and so does one without which no memory is freed; all
/// others are refused before they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Open,
    Append,
    Read,
    Trim,
    Remove,
    End,
    Swap,
    Gather,
    Copy,
}

/// A call of a script.
#[derive(Clone, Debug)]
pub(super) struct ScriptCall {
    pub(super) script: Script,
    keys: Vec<String>,
    arguments: Vec<bytes::Bytes>,
}

macro_rules! topic_script {
    ($flags:literal, $file:literal) => {
        concat!(
            "#!lua",
            $flags,
            "\n",
            include_str!("scripts/topic.lua"),
            include_str!($file)
        )
    };
}

impl Script {
    pub(super) const ALL: [Self; 9] = [
        Self::Open,
        Self::Append,
        Self::Read,
        Self::Trim,
        Self::Remove,
        Self::End,
        Self::Swap,
        Self::Gather,
        Self::Copy,
    ];

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Open => topic_script!("", "scripts/open.lua"),
            Self::Append => topic_script!("", "scripts/append.lua"),
            Self::Read => topic_script!(" flags=no-writes", "scripts/read.lua"),
            Self::Trim => topic_script!(" flags=allow-oom", "scripts/trim.lua"),
            Self::Remove => topic_script!(" flags=allow-oom", "scripts/remove.lua"),
            Self::End => topic_script!(" flags=allow-oom", "scripts/end.lua"),
            // Registers are small and replaced. Without the leases and the answers of groups in
            // them nobody would sweep, and a full Redis would stay full.
            Self::Swap => concat!("#!lua flags=allow-oom\n", include_str!("scripts/swap.lua")),
            Self::Gather => concat!(
                "#!lua flags=no-writes\n",
                include_str!("scripts/gather.lua")
            ),
            Self::Copy => concat!(
                "#!lua\n",
                include_str!("scripts/topic.lua"),
                "local function append(ARGV)\n",
                include_str!("scripts/append.lua"),
                "end\n",
                include_str!("scripts/copy.lua")
            ),
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Open => 0,
            Self::Append => 1,
            Self::Read => 2,
            Self::Trim => 3,
            Self::Remove => 4,
            Self::End => 5,
            Self::Swap => 6,
            Self::Gather => 7,
            Self::Copy => 8,
        }
    }

    /// Whether it may run again when it is not known whether it has run.
    pub(super) const fn is_repeatable(self) -> bool {
        !matches!(self, Self::Append | Self::Swap)
    }
}

impl ScriptCall {
    pub(super) fn new(script: Script, keys: impl Into<Vec<String>>) -> Self {
        Self {
            script,
            keys: keys.into(),
            arguments: Vec::new(),
        }
    }

    pub(super) fn key(&mut self, key: String) {
        self.keys.push(key);
    }

    /// Adds an argument.
    pub(super) fn arg(&mut self, argument: impl Into<bytes::Bytes>) {
        self.arguments.push(argument.into());
    }

    /// The same with one more argument.
    pub(super) fn with(mut self, argument: impl Into<bytes::Bytes>) -> Self {
        self.arg(argument);
        self
    }

    /// By the hash of the script, which Redis may have forgotten.
    pub(super) fn by_hash(&self, hash: &str) -> Cmd {
        self.command("EVALSHA", hash)
    }

    /// By its text, which Redis then knows.
    pub(super) fn by_text(&self) -> Cmd {
        self.command("EVAL", self.script.text())
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len());
        for key in &self.keys {
            command.arg(key);
        }
        for argument in &self.arguments {
            command.arg(&argument[..]);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found_by_their_index() {
        for (index, script) in Script::ALL.into_iter().enumerate() {
            assert_eq!(script.index(), index);
        }
    }
}
