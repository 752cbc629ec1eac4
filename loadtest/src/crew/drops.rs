//! Datagrams that the kernel had no room for: its own count for each socket, read from its table.

use std::collections::{HashMap, HashSet};

/// The table's last state.
#[derive(Debug, Default)]
pub(super) struct KernelDrops {
    /// By local port.
    counts: HashMap<u16, u64>,
}

impl KernelDrops {
    /// Datagrams dropped since the last call at the sockets with these local ports. Those of a socket closed since then
    /// are lost; a system without the table drops nothing that anybody could see.
    pub(super) fn since_last(&mut self, ports: &[u16]) -> u64 {
        let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
        let texts = tables.map(|table| std::fs::read_to_string(table).unwrap_or_default());
        self.take(ports, texts.iter().flat_map(|text| text.lines()))
    }

    fn take<'a>(&mut self, ports: &[u16], lines: impl Iterator<Item = &'a str>) -> u64 {
        let own: HashSet<u16> = ports.iter().copied().collect();
        let now: HashMap<u16, u64> =
            lines.filter_map(read_line).filter(|(port, _)| own.contains(port)).collect();
        // A smaller count than before is that of another socket, which began with none.
        let since = |(port, count): (&u16, &u64)| match self.counts.get(port) {
            Some(before) if before <= count => count - before,
            _ => *count,
        };
        let sum = now.iter().map(since).sum();
        self.counts = now;
        sum
    }
}

/// Local port and drops; none for the heading.
fn read_line(line: &str) -> Option<(u16, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (_, port) = fields.nth(1)?.rsplit_once(':')?;
    // The second field was taken; drops are the thirteenth.
    Some((u16::from_str_radix(port, 16).ok()?, fields.nth(10)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(drops: [u64; 2]) -> String {
        let line = |port: &str, drops| {
            format!(
                "  12: 00000000:{port} 0100007F:2710 01 00000000:00000000 00:00000000 00000000     0        0 5 2 0 {drops}\n"
            )
        };
        format!(
            "   sl  local_address rem_address   st tx_queue drops\n{}{}",
            line("1F90", drops[0]),
            line("1F91", drops[1])
        )
    }

    #[test]
    fn only_new_drops_of_own_sockets_count() {
        let mut drops = KernelDrops::default();
        let mut take = |ports: &[u16], table: &str| drops.take(ports, table.lines());
        assert_eq!(take(&[8080], &table([5, 100])), 5);
        assert_eq!(take(&[8080], &table([7, 900])), 2);
        assert_eq!(take(&[8080, 8081], &table([7, 900])), 900, "a new socket's drops are all new");
        assert_eq!(take(&[8080], &table([1, 0])), 1, "the port belongs to another socket by now");
        assert_eq!(take(&[], ""), 0);
    }
}
