// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of a guest, on the command line or in its file.

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The guest's name: that of its workload and of its session.
    pub(crate) name: String,
    /// The guest's RAM: a number of bytes, or with K, M, G or T. With several, separated by commas, each is
    /// that of a NUMA node.
    #[arg(long, value_name = "SIZE", value_parser = size, value_delimiter = ',', required = true)]
    pub(crate) memory: Vec<u64>,
    /// RAM is of huge pages of this size, 2M or 1G, of which there have to be enough.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) huge: Option<u64>,
    /// Workloads that this one needs.
    #[arg(long, value_name = "OTHER", value_delimiter = ',')]
    pub(crate) needs: Vec<String>,
    /// Room for the state of the guest's devices. Without it that is 8M, and what they have of memory: of a
    /// graphics card, and of firmware.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) state_size: Option<u64>,
    /// Disks in memory (tmpfs) do not hinder an update: each boot puts them there as they were.
    #[arg(long)]
    pub(crate) disks_in_memory: bool,
    /// How long luod is waited for, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = Run::WAIT)]
    pub(crate) wait: u64,
    /// QEMU's command line, without the options for RAM.
    #[arg(last = true, required = true, value_name = "QEMU")]
    pub(crate) command: Vec<String>,
}

impl Run {
    const WAIT: u64 = 60;

    /// A guest with this RAM and this QEMU; the rest is as without options.
    pub(crate) const fn new(name: String, memory: Vec<u64>, command: Vec<String>) -> Self {
        Self {
            name,
            memory,
            huge: None,
            needs: Vec::new(),
            state_size: None,
            disks_in_memory: false,
            wait: Self::WAIT,
            command,
        }
    }
}

/// Reads a size as QEMU writes it.
///
/// # Errors
/// Why it is none.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no size: say 256M or 4G");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text.get(digits.len()..).map(str::to_ascii_uppercase) {
        Some(unit) if unit.is_empty() || unit == "B" => 0,
        Some(unit) if unit == "K" || unit == "KIB" => 10,
        Some(unit) if unit == "M" || unit == "MIB" => 20,
        Some(unit) if unit == "G" || unit == "GIB" => 30,
        Some(unit) if unit == "T" || unit == "TIB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    if bytes == 0 || bytes % (64 << 10) != 0 {
        return Err(format!("'{text}' is not a multiple of 64K"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_qemu_reads_them() {
        assert_eq!(size("256M"), Ok(256 << 20));
        assert_eq!(size("4G"), Ok(4 << 30));
        assert_eq!(size("4GiB"), Ok(4 << 30));
        assert_eq!(size("1048576"), Ok(1 << 20));
        for wrong in ["", "M", "-1M", "1X", "0", "100", "99999999999T", "1.5G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
