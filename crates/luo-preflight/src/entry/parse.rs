// SPDX-License-Identifier: MIT OR Apache-2.0
//! The text of an entry: a key and a value in each line.

/// The lines of a text of this kind, without comments and empty ones.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| match line.split_once([' ', '\t']) {
        Some((key, value)) => (key, value.trim()),
        None => (line, ""),
    })
}

/// What an entry says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) kernel: Option<String>,
    /// Each may have several paths in it.
    pub(super) initrds: Vec<String>,
    pub(super) options: Option<String>,
    /// Which profile of a unified kernel image.
    pub(super) profile: Option<String>,
    /// What the boot loader hands to the image beside its initrds: parts of the command line,
    /// credentials, extensions.
    pub(super) extras: Vec<String>,
    pub(super) sort_key: Option<String>,
    pub(super) machine: Option<String>,
    pub(super) version: Option<String>,
}

impl Text {
    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for (key, value) in lines(text) {
            let value = value.to_owned();
            match key {
                "linux" | "efi" | "uki" => found.kernel = Some(value),
                "initrd" => found.initrds.push(value),
                // Several lines are one.
                "options" => match &mut found.options {
                    Some(options) => {
                        options.push(' ');
                        options.push_str(&value);
                    }
                    None => found.options = Some(value),
                },
                "profile" => found.profile = Some(value),
                "extra" => found.extras.push(value),
                "sort-key" => found.sort_key = Some(value),
                "machine-id" => found.machine = Some(value),
                "version" => found.version = Some(value),
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read() {
        let text = "# made by kernel-install\ntitle  Fedora\nversion\t6.19.1\n\
                    linux /vmlinuz-6.19.1\ninitrd /ucode.img\ninitrd /initramfs.img\n\
                    options root=UUID=1 ro\noptions  quiet\n\n";
        let found = Text::parse(text);
        assert_eq!(found.kernel.as_deref(), Some("/vmlinuz-6.19.1"));
        assert_eq!(found.initrds, ["/ucode.img", "/initramfs.img"]);
        assert_eq!(found.options.as_deref(), Some("root=UUID=1 ro quiet"));
        assert_eq!(found.version.as_deref(), Some("6.19.1"));
    }
}
