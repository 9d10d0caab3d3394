//! Gives out the addresses of one range, from memory. Pure: the caller rebuilds it at start from
//! what lives, and says when a released address may be used again.
//!
//! An address moves `free -> taken -> quarantined -> free`. It stays in quarantine until its link
//! and its tracked connections are gone; otherwise packets of the old owner would reach the new.

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use crate::error::{Error, Result};
use crate::options::Subnet;

/// The addresses of one range.
#[derive(Debug, Clone)]
pub struct Addresses {
    subnet: Subnet,
    /// Everything from here on was never given out, but for what `taken` holds.
    fresh: u32,
    taken: BTreeSet<u32>,
    quarantined: BTreeSet<u32>,
    /// Addresses to use again, the longest unused first.
    returned: VecDeque<u32>,
}

impl Addresses {
    /// All addresses of the range but the network's, the gateway's and the broadcast one.
    pub fn new(subnet: Subnet) -> Self {
        Self {
            subnet,
            fresh: subnet.gateway().to_bits().saturating_add(1),
            taken: BTreeSet::new(),
            quarantined: BTreeSet::new(),
            returned: VecDeque::new(),
        }
    }

    /// Takes an address: one never used if there is any, else the one unused for longest.
    pub fn take(&mut self) -> Result<Ipv4Addr> {
        let last = self.subnet.broadcast().to_bits();
        while self.fresh < last {
            let address = self.fresh;
            self.fresh += 1;
            if !self.quarantined.contains(&address) && self.taken.insert(address) {
                return Ok(Ipv4Addr::from_bits(address));
            }
        }
        let Some(address) = self.returned.pop_front() else {
            return Err(Error::NoAddress {
                subnet: self.subnet.to_string(),
                taken: self.taken.len(),
                quarantined: self.quarantined.len(),
            });
        };
        self.taken.insert(address);
        Ok(Ipv4Addr::from_bits(address))
    }

    /// Takes this address.
    pub fn take_exact(&mut self, address: Ipv4Addr) -> Result<()> {
        let refuse = |why| Err(Error::Address { address, why });
        if !self.subnet.contains(address) {
            return refuse("it is outside the range for tasks");
        }
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

    /// Puts a taken address in quarantine. Answers whether it was taken.
    pub fn release(&mut self, address: Ipv4Addr) -> bool {
        let bits = address.to_bits();
        self.taken.remove(&bits) && self.quarantined.insert(bits)
    }

    /// Ends an address's quarantine: nothing of its last owner is left.
    pub fn clear(&mut self, address: Ipv4Addr) {
        let bits = address.to_bits();
        // What was never given out is still reached by the cursor, and must not be listed twice.
        if self.quarantined.remove(&bits) && bits < self.fresh {
            self.returned.push_back(bits);
        }
    }

    /// Puts an address in quarantine that nobody took: a link of an unknown owner has it.
    pub fn quarantine(&mut self, address: Ipv4Addr) {
        let bits = address.to_bits();
        if self.subnet.contains(address) && !self.taken.contains(&bits) {
            self.returned.retain(|returned| *returned != bits);
            self.quarantined.insert(bits);
        }
    }

    /// Whether somebody has the address.
    pub fn is_taken(&self, address: Ipv4Addr) -> bool {
        self.taken.contains(&address.to_bits())
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
