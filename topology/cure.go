// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// cures say what to do about a reason.
var cures = map[status.Reason]string{
	// Resources.
	config.VerdictInvalid:  "correct the field that the message names",
	config.VerdictConflict: "change one of the two objects; the one in force stays so",
	config.VerdictMissing:  "create what it refers to, or correct the name",
	config.VerdictInUse:    "annotate the pool as the message says, or undo the edit",
	ProblemRefs:            "create what it refers to, or correct the name",

	// Addresses.
	status.Reason(alloc.NoPool):            "create a pool that is open to the Service, set autoAssign of one, or name a pool in the annotation " + config.AnnotationAddressPool,
	status.Reason(alloc.PoolUnknown):       "correct the annotation " + config.AnnotationAddressPool + ", or create the pool",
	status.Reason(alloc.PoolNotAllowed):    "correct serviceAllocation of the pool, or ask for another pool",
	status.Reason(alloc.PoolExhausted):     "add addresses to the pool, or delete Services that need none",
	status.Reason(alloc.QuotaExceeded):     "raise the quota of the namespace, or delete Services that need no address",
	status.Reason(alloc.FamilyUnavailable): "add addresses of the family to a pool, or change ipFamilies of the Service",
	status.Reason(alloc.AddressNotInPool):  "correct the address that the Service asks for, or add it to a pool",
	status.Reason(alloc.AddressExcluded):   "ask for another address, or set avoidBuggyIPs of the pool to false",
	status.Reason(alloc.AddressReserved):   "ask for another address, or change the reservation of the pool",
	status.Reason(alloc.AddressHeld):       "wait for --address-grace, or ask for another address",
	status.Reason(alloc.AddressInUse):      "ask for another address, or give both Services the same sharing key",
	status.Reason(alloc.SharingConflict):   "make what the message names equal in both Services, or ask for another address",
	status.Reason(alloc.PortInUse):         "use another port, or another sharing key",
	assign.ReasonInvalidRequest:            "correct the annotation or field that the message names",
	assign.ReasonNoClusterIP:               "remove clusterIP: None: type LoadBalancer needs a cluster IP",
	assign.ReasonNotDualStack:              "check that the cluster is dual-stack, or change ipFamilyPolicy",
	reasonNoConfiguration:                  "create an IPAddressPool, and a BGPAdvertisement or L2Advertisement that selects it",

	// Announcements.
	status.NoAdvertisement:       "create a BGPAdvertisement or L2Advertisement, or correct ipAddressPools, ipAddressPoolSelectors or serviceSelectors of one",
	status.NodeNotSelected:       "correct nodeSelectors, or label nodes",
	status.NodeExcluded:          "remove the label " + announce.LabelExcludeNode + ", or start agents and controller with --ignore-exclude-lb",
	status.NodeNetworkDown:       "repair the network of the node",
	status.NoInterface:           "correct interfaces of the L2Advertisement, or check that the interface is up and has an address",
	status.NoPeers:               "create a BGPPeer, or correct peers of the advertisement or nodeSelectors of the peer",
	status.NoEndpoints:           "look at the pods that the selector of the Service matches, and whether they are ready",
	status.TooFewEndpoints:       "look at the pods that are not ready, or lower minReadyEndpoints of the advertisement",
	condition.ReasonNotAnnounced: "repair the BGP sessions or the agents that the message names",
	status.AddressConflict:       "remove one of the two peers, or give one another address",
	status.ASNConflict:           "give the peers of the node the same myASN, or use localASN for an external peer",
	status.NodeUnknown:           "check --node-name of the agent",
	status.NodeDraining:          "undrain the node",
	status.DataPlaneNotReady:     "look at kube-proxy, or what replaces it, on the node",
	status.ProbeFailed:           "look at the Service's pods, and at kube-proxy, as the node sees them",
	status.OtherLoadBalancer:     "stop the other load balancer, or install Herald's agent on that node",
	status.MembersUnknown:        "open the port of the gossip, UDP and TCP, between the nodes",
	status.EndpointsFlap:         "look at why the Service's pods become ready and unready",
	reasonAgentAbsent:            "have the agent's pod start",

	// Sessions.
	status.SessionConnecting: "wait: FRR has just begun to connect",
	status.SessionNoAnswer:   "check the router's address, VLAN, routes, firewalls and the password",
	status.SessionRefused:    "start BGP on the router on that port, or open the firewall",
	status.SessionPassword:   "set the same password on both sides",
	status.SessionNoRoute:    "add a route to the router and set ebgpMultiHop, or correct the address",
	status.SessionClosed:     "configure the node's address as a neighbor on the router",
	status.SessionPeerAS:     "correct peerASN, or myASN and localASN, or the router's AS numbers",
	status.SessionRouterID:   "set routerID of the BGPPeer, or change the router's",
	status.SessionCollision:  "stop the other BGP speaker of the node",
	status.SessionHoldTimer:  "look for packet loss, a small MTU, or load between node and router",
	status.SessionBFD:        "enable BFD on the router, or remove bfdProfile from the BGPPeer",
	status.SessionShutdown:   "enable the neighbor on the router",
	status.SessionPrefixes:   "raise the limit of routes, or aggregate routes",
	status.SessionRejected:   "look at the router's log: it ends the session for the reason in the message",
	status.SessionFailed:     "look at the FRR container's log: FRR ends the session for the reason in the message",
	status.SessionSilentFRR:  "look at the FRR container's log: FRR does not answer its agent",
}

// decisionCure returns what to do about the reason why a node does not announce something,
// and whether that is known.
func decisionCure(reason status.Reason) (string, bool) {
	if reason == status.Conflict { // resources have another one of the same name
		return "find the host that has the address, and give one of the two another address", true
	}
	cure, known := cures[reason]
	return cure, known && reason != status.NotOwner && reason != status.Announced
}

// cureOf returns what to do about a reason.
func cureOf(reason status.Reason) string {
	if cure, ok := cures[reason]; ok {
		return cure
	}
	return "do as the message says; docs/service-status.md explains " + string(reason)
}
