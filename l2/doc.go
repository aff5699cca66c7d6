// SPDX-License-Identifier: Apache-2.0

// Package l2 makes addresses reachable on the local network by answering ARP
// (RFC 826, RFC 5227) and neighbor discovery (RFC 4861) for them.
//
// An [Announcer] is given the whole set of addresses to announce, and keeps every
// suitable interface answering for them while interfaces come and go. The addresses are
// on no interface of the node: the kernel neither answers for them nor defends them, so
// this package does both.
//
// # Sockets and capabilities
//
// Each interface has a packet socket for ARP and one for neighbor discovery, so that no
// route, rp_filter, arp_ignore or firewall rule stands between the wire and the answer.
// They need CAP_NET_RAW. Nothing here needs CAP_NET_ADMIN. A filter in the kernel passes
// only ARP and neighbor discovery, and no frames for other hosts or for VLANs that the
// node is not in.
//
// The solicited-node groups of IPv6 addresses are joined through ordinary IPv6
// sockets and not as memberships of the packet socket. Either makes the network
// card pass the frames, but only the former makes the kernel send and repeat
// MLD reports (RFC 3810), without which a switch that snoops on MLD would not
// forward solicitations to this node.
//
// # Conflicts
//
// An ARP or neighbor discovery packet in which a host states that it has an address is a
// claim, if the address is announced here. Packets of this node's own interfaces are none.
//
//   - A claim of a friend (see [Announcer.SetFriends]) comes from another agent. It is
//     reported as [Address.TakenBy] and is never a conflict.
//   - A claim of a friend that gossip has lost (see [Announcer.SetLost]) is looked into:
//     the claimant is asked by unicast. While it answers it is one of
//     [Address.Contenders].
//   - A claim whose frame has another Ethernet source than it says proves nothing. The
//     address is announced again.
//   - While an address is quiet or on standby, any claim is reported so: another owner is
//     expected.
//   - For two seconds after an address was taken over from another agent, claims are
//     ignored: that agent's last announcements may still be on their way.
//   - Every other claim is a conflict. It is reported, and the address is defended by
//     announcing it again, at most every ten seconds (RFC 5227, Section 2.4 c).
//
// An address that no agent held before (see [Announcement.Fresh]) is also probed for.
// Under [Warn] it is announced at the same time, so that probing costs no time. Under
// [Refuse] it is announced only after probes without an answer, and probed for again from
// time to time until then. Once an address is announced it is defended under either
// policy: a single forged packet must not take a Service away.
//
// # Other load balancers
//
// While a cluster changes from another load balancer to Herald, the other one still
// answers on nodes without an agent (see [Announcer.SetNodes]). If there are such nodes,
// a fresh address is asked for before it is announced. While the other load balancer
// answers, the address is left to it, as [Deferred]. An address that is announced already
// stays: a claim with the hardware address of a node must not take it away. The other
// load balancer's claims are reported as [Address.Rival], and are no conflicts.
package l2
