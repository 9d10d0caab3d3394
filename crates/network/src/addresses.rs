//! Gives out the addresses of one range, from memory. Pure: the caller rebuilds it at start from
//! what lives, and says when a released address may be used again.
//!
//! An address moves `free -> taken -> quarantined -> free`. It stays in quarantine until its link
//! and its tracked connections are gone; otherwise packets of the old owner would reach the new.

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use crate::error::{Error, Result};
use crate::options::Subnet;

/// The addresses of one range, part by part: a bridge carries each. A part is begun when those before
/// it have no free address.
#[derive(Debug, Clone)]
pub struct Addresses {
    subnet: Subnet,
    /// Those that were begun.
    parts: Vec<Part>,
}

impl Addresses {
    /// All addresses of the range but those that no task can have.
    pub fn new(subnet: Subnet) -> Self {
        Self {
            subnet,
            parts: vec![Part::new(subnet.part(0))],
        }
    }

    /// Takes an address of the first part that has a free one: one never used if there is any, else
    /// the one unused for longest.
    pub fn take(&mut self) -> Result<Ipv4Addr> {
        if let Some(address) = self.parts.iter_mut().find_map(Part::take) {
            return Ok(address);
        }
        // At most 256.
        let next = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        let fresh = (next < self.subnet.parts()).then(|| self.begin(next).take());
        fresh.flatten().ok_or_else(|| Error::NoAddress {
            subnet: self.subnet.to_string(),
            taken: self.parts.iter().map(|part| part.taken.len()).sum(),
            quarantined: self.parts.iter().map(|part| part.quarantined.len()).sum(),
        })
    }

    /// Takes this address.
    pub fn take_exact(&mut self, address: Ipv4Addr) -> Result<()> {
        if !self.subnet.contains(address) {
            let why = "it is outside the range for tasks";
            return Err(Error::Address { address, why });
        }
        self.begin(self.subnet.part_of(address)).take_exact(address)
    }

    /// Puts a taken address in quarantine. Answers whether it was taken.
    pub fn release(&mut self, address: Ipv4Addr) -> bool {
        self.part(address).is_some_and(|part| part.release(address))
    }

    /// Ends an address's quarantine: nothing of its last owner is left.
    pub fn clear(&mut self, address: Ipv4Addr) {
        if let Some(part) = self.part(address) {
            part.clear(address);
        }
    }

    /// Puts an address in quarantine that nobody took: a link of an unknown owner has it.
    pub fn quarantine(&mut self, address: Ipv4Addr) {
        if self.subnet.contains(address) {
            self.begin(self.subnet.part_of(address)).quarantine(address);
        }
    }

    /// How many nobody has.
    pub(crate) fn free(&self) -> u64 {
        let held = self
            .parts
            .iter()
            .map(|part| part.taken.len() + part.quarantined.len());
        let held = u64::try_from(held.sum::<usize>()).unwrap_or(u64::MAX);
        self.subnet.capacity().saturating_sub(held)
    }

    /// Whether somebody has the address.
    pub fn is_taken(&self, address: Ipv4Addr) -> bool {
        let part = self
            .number(address)
            .and_then(|number| self.parts.get(number));
        part.is_some_and(|part| part.taken.contains(&address.to_bits()))
    }

    /// The part with this number, begun with all before it.
    fn begin(&mut self, number: u32) -> &mut Part {
        let number = number as usize;
        while self.parts.len() <= number {
            let next = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
            self.parts.push(Part::new(self.subnet.part(next)));
        }
        &mut self.parts[number]
    }

    fn number(&self, address: Ipv4Addr) -> Option<usize> {
        let inside = self.subnet.contains(address);
        inside.then(|| self.subnet.part_of(address) as usize)
    }

    fn part(&mut self, address: Ipv4Addr) -> Option<&mut Part> {
        let number = self.number(address)?;
        self.parts.get_mut(number)
    }
}

/// The addresses of one bridge.
#[derive(Debug, Clone)]
struct Part {
    subnet: Subnet,
    /// Everything from here on was never given out, but for what `taken` holds.
    fresh: u32,
    taken: BTreeSet<u32>,
    quarantined: BTreeSet<u32>,
    /// Addresses to use again, the longest unused first.
    returned: VecDeque<u32>,
}

impl Part {
    fn new(subnet: Subnet) -> Self {
        Self {
            subnet,
            fresh: subnet.gateway().to_bits().saturating_add(1),
            taken: BTreeSet::new(),
            quarantined: BTreeSet::new(),
            returned: VecDeque::new(),
        }
    }

    fn take(&mut self) -> Option<Ipv4Addr> {
        let last = self.subnet.broadcast().to_bits();
        while self.fresh < last {
            let address = self.fresh;
            self.fresh += 1;
            if !self.quarantined.contains(&address) && self.taken.insert(address) {
                return Some(Ipv4Addr::from_bits(address));
            }
        }
        let address = self.returned.pop_front()?;
        self.taken.insert(address);
        Some(Ipv4Addr::from_bits(address))
    }

    fn take_exact(&mut self, address: Ipv4Addr) -> Result<()> {
        let refuse = |why| Err(Error::Address { address, why });
        if address == self.subnet.network()
            || address == self.subnet.gateway()
            || address == self.subnet.broadcast()
        {
            return refuse("it is the network's, the gateway's or the broadcast address");
        }
        let bits = address.to_bits();
        if self.quarantined.contains(&bits) {
            return refuse("its last link or connections are not gone yet");
        }
        if !self.taken.insert(bits) {
            return refuse("it is in use");
        }
        self.returned.retain(|returned| *returned != bits);
        Ok(())
    }

    fn release(&mut self, address: Ipv4Addr) -> bool {
        let bits = address.to_bits();
        self.taken.remove(&bits) && self.quarantined.insert(bits)
    }

    fn clear(&mut self, address: Ipv4Addr) {
        let bits = address.to_bits();
        // What was never given out is still reached by the cursor, and must not be listed twice.
        if self.quarantined.remove(&bits) && bits < self.fresh {
            self.returned.push_back(bits);
        }
    }

    fn quarantine(&mut self, address: Ipv4Addr) {
        let bits = address.to_bits();
        if !self.taken.contains(&bits) {
            self.returned.retain(|returned| *returned != bits);
            self.quarantined.insert(bits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Addresses {
        Addresses::new("10.9.0.0/28".parse().expect("valid"))
    }

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 9, 0, last)
    }

    #[test]
    fn gives_each_address_once_and_skips_special_ones() {
        let mut addresses = small();
        let all: Vec<_> = (0..13).map(|_| addresses.take().expect("free")).collect();
        assert_eq!(all, (2..15).map(ip).collect::<Vec<_>>());
        assert!(matches!(
            addresses.take(),
            Err(Error::NoAddress {
                taken: 13,
                quarantined: 0,
                ..
            })
        ));
    }

    #[test]
    fn a_part_is_begun_when_those_before_it_are_full() {
        let mut addresses = Addresses::new("10.9.0.0/23".parse().expect("valid"));
        let all: Vec<_> = std::iter::from_fn(|| addresses.take().ok()).collect();
        assert_eq!(all.len(), 2 * 253);
        assert_eq!(all[252], Ipv4Addr::new(10, 9, 0, 254));
        assert_eq!(all[253], Ipv4Addr::new(10, 9, 1, 2), "past its gateway");
        addresses.release(all[5]);
        addresses.clear(all[5]);
        assert_eq!(addresses.take().expect("cleared"), all[5]);
        for special in [[10, 9, 0, 255], [10, 9, 1, 0], [10, 9, 1, 1], [10, 9, 2, 0]] {
            assert!(addresses.take_exact(special.into()).is_err(), "{special:?}");
        }
    }

    #[test]
    fn an_address_of_a_later_part_is_found_again() {
        let mut addresses = Addresses::new("10.9.0.0/16".parse().expect("valid"));
        let later = Ipv4Addr::new(10, 9, 12, 7);
        addresses.take_exact(later).expect("free");
        assert!(addresses.is_taken(later) && !addresses.is_taken(ip(2)));
        assert_eq!(
            addresses.take().expect("free"),
            ip(2),
            "the first part first"
        );
        assert!(addresses.release(later));
        addresses.clear(later);
        addresses.take_exact(later).expect("free again");
        assert!(!addresses.release(Ipv4Addr::new(10, 10, 0, 2)));
    }

    #[test]
    fn released_addresses_wait_and_return_oldest_first() {
        let mut addresses = small();
        for _ in 0..13 {
            addresses.take().expect("free");
        }
        for last in [9, 3, 5] {
            assert!(addresses.release(ip(last)));
        }
        assert!(
            !addresses.release(ip(3)),
            "a second release changes nothing"
        );
        assert!(
            addresses.take().is_err(),
            "all released ones are in quarantine"
        );
        addresses.clear(ip(3));
        addresses.clear(ip(9));
        assert_eq!(addresses.take().expect("cleared"), ip(3));
        assert_eq!(addresses.take().expect("cleared"), ip(9));
        assert!(addresses.take().is_err());
    }

    #[test]
    fn fresh_addresses_come_before_returned_ones() {
        let mut addresses = small();
        let first = addresses.take().expect("free");
        addresses.release(first);
        addresses.clear(first);
        assert_eq!(addresses.take().expect("free"), ip(3));
    }

    #[test]
    fn exact_addresses() {
        let mut addresses = small();
        addresses.take_exact(ip(2)).expect("free");
        for bad in [ip(0), ip(1), ip(15), ip(16), ip(2), Ipv4Addr::LOCALHOST] {
            assert!(addresses.take_exact(bad).is_err(), "{bad}");
        }
        assert_eq!(
            addresses.take().expect("free"),
            ip(3),
            "skips the one taken"
        );
        addresses.release(ip(2));
        assert!(addresses.take_exact(ip(2)).is_err(), "in quarantine");
        addresses.clear(ip(2));
        addresses.take_exact(ip(2)).expect("free again");
        let rest: BTreeSet<_> = std::iter::from_fn(|| addresses.take().ok()).collect();
        assert_eq!(rest.len(), 11);
        assert!(!rest.contains(&ip(2)));
    }

    #[test]
    fn address_of_an_unknown_link_is_skipped_until_cleared() {
        let mut addresses = small();
        addresses.quarantine(ip(2));
        assert_eq!(addresses.take().expect("free"), ip(3));
        addresses.clear(ip(2));
        let rest: BTreeSet<_> = std::iter::from_fn(|| addresses.take().ok()).collect();
        assert_eq!(rest, (2..15).filter(|last| *last != 3).map(ip).collect());
    }
}
