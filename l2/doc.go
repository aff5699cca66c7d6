// SPDX-License-Identifier: Apache-2.0

// Package l2 makes addresses reachable on the local network by answering ARP
// (RFC 826, RFC 5227) and neighbor discovery (RFC 4861) for them.
//
// An [Announcer] is given the whole set of addresses to announce, and keeps
// every suitable interface answering for them, whatever happens to the
// interfaces. The addresses are on no interface of the node: the kernel
// neither answers for them nor defends them, so this package does both.
//
// # Sockets and capabilities
//
// Each interface has a packet socket for ARP and one for neighbor discovery,
// so that no route, rp_filter, arp_ignore or firewall rule stands between the
// wire and the answer. They need CAP_NET_RAW, and nothing here needs
// CAP_NET_ADMIN. A filter in the kernel passes only ARP and neighbor discovery,
// and not what belongs to other hosts or to VLANs that the node is not in.
//
// The solicited-node groups of IPv6 addresses are joined through ordinary IPv6
// sockets and not as memberships of the packet socket. Either makes the network
// card pass the frames, but only the former makes the kernel send and repeat
// MLD reports (RFC 3810), without which a switch that snoops on MLD would not
// forward solicitations to this node.
//
// # Conflicts
//
// Whoever says, in any ARP or neighbor discovery packet, that he has an address
// which is announced here makes a claim. This node's own interfaces make none.
// A claim of a friend (see [Announcer.SetFriends]) is another of our agents at
// work: it is reported as [Address.TakenBy] and never is a conflict. While an
// address is quiet or silent, any claim is reported so, because then another owner is
// expected. For two seconds after an address was taken over from another of our
// agents, claims are ignored: its last announcements may still be on their way.
// Every other claim is a conflict: it is reported, and the address is defended
// by announcing it again, at most every ten seconds (RFC 5227, Section 2.4 c).
//
// An address that none of ours held before (see [Announcement.Fresh]) is also
// probed for. Under [Warn] that happens while it is announced already, so that
// it costs no time; under [Refuse] it is announced only after the probes have
// met silence, and probed again from time to time until they do. Once an
// address is announced it is defended under either policy: a single forged
// packet must not take a Service away.
//
// # Other load balancers
//
// While a cluster changes from another load balancer to Herald, that one still
// answers on nodes without an agent of ours (see [Announcer.SetNodes]). A fresh
// address is asked for before it is announced where there is such a node, and left to
// the other load balancer, as [Deferred], for as long as that answers. An address that
// is announced already stays: a claim with the hardware address of a node must not take
// it away. What the other load balancer says is reported as [Address.Rival], and is no
// conflict.
package l2
