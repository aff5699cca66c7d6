// SPDX-License-Identifier: Apache-2.0

package config

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// The specs of the custom resources, as written. A test compares their fields
// with the schemas in deploy/crds.

type rawPool struct {
	Addresses     []string       `json:"addresses"`
	AutoAssign    *bool          `json:"autoAssign,omitempty"` // nil means true
	AvoidBuggyIPs bool           `json:"avoidBuggyIPs,omitempty"`
	Allocation    *rawAllocation `json:"serviceAllocation,omitempty"`
}

type rawAllocation struct {
	Priority           int                    `json:"priority,omitempty"`
	Namespaces         []string               `json:"namespaces,omitempty"`
	NamespaceSelectors []metav1.LabelSelector `json:"namespaceSelectors,omitempty"`
	ServiceSelectors   []metav1.LabelSelector `json:"serviceSelectors,omitempty"`
}

type rawPeer struct {
	MyASN           uint32                 `json:"myASN,omitempty"`
	PeerASN         uint32                 `json:"peerASN,omitempty"`
	DynamicASN      string                 `json:"dynamicASN,omitempty"`
	LocalASN        uint32                 `json:"localASN,omitempty"`
	Address         string                 `json:"peerAddress,omitempty"`
	Interface       string                 `json:"interface,omitempty"`
	SourceAddress   string                 `json:"sourceAddress,omitempty"`
	Port            uint16                 `json:"peerPort,omitempty"`
	HoldTime        *string                `json:"holdTime,omitempty"`
	KeepaliveTime   *string                `json:"keepaliveTime,omitempty"`
	ConnectTime     *string                `json:"connectTime,omitempty"`
	RouterID        string                 `json:"routerID,omitempty"`
	NodeSelectors   []metav1.LabelSelector `json:"nodeSelectors,omitempty"`
	Password        string                 `json:"password,omitempty"`
	PasswordSecret  rawSecretReference     `json:"passwordSecret,omitzero"`
	BFDProfile      string                 `json:"bfdProfile,omitempty"`
	GracefulRestart bool                   `json:"enableGracefulRestart,omitempty"`
	EBGPMultiHop    bool                   `json:"ebgpMultiHop,omitempty"`
	TTLSecurity     *int64                 `json:"ttlSecurity,omitempty"`
	VRF             string                 `json:"vrf,omitempty"`
	DisableMP       bool                   `json:"disableMP,omitempty"` // deprecated, has no effect
	DualStack       bool                   `json:"dualStackAddressFamily,omitempty"`
}

type rawSecretReference struct {
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"` // MetalLB looks into its own alone
}

type rawBFDProfile struct {
	ReceiveInterval  *uint32 `json:"receiveInterval,omitempty"`
	TransmitInterval *uint32 `json:"transmitInterval,omitempty"`
	DetectMultiplier *uint32 `json:"detectMultiplier,omitempty"`
	EchoInterval     *uint32 `json:"echoInterval,omitempty"`
	EchoMode         *bool   `json:"echoMode,omitempty"`
	PassiveMode      *bool   `json:"passiveMode,omitempty"`
	MinimumTTL       *uint32 `json:"minimumTtl,omitempty"`
}

type rawCommunity struct {
	Communities []rawAlias `json:"communities,omitempty"`
}

type rawAlias struct {
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

// rawScope is what both kinds of advertisements say of whom they are about.
type rawScope struct {
	Pools            []string               `json:"ipAddressPools,omitempty"`
	PoolSelectors    []metav1.LabelSelector `json:"ipAddressPoolSelectors,omitempty"`
	NodeSelectors    []metav1.LabelSelector `json:"nodeSelectors,omitempty"`
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`
	// These are Herald's own.
	MinReady int       `json:"minReadyEndpoints,omitempty"`
	Probe    *rawProbe `json:"probe,omitempty"`
}

type rawBGPAdvertisement struct {
	rawScope            `json:",inline"`
	AggregationLength   *int32   `json:"aggregationLength,omitempty"`   // nil means 32
	AggregationLengthV6 *int32   `json:"aggregationLengthV6,omitempty"` // nil means 128
	LocalPref           uint32   `json:"localPref,omitempty"`
	Communities         []string `json:"communities,omitempty"`
	Peers               []string `json:"peers,omitempty"`
	// These are Herald's own.
	MED              *uint32 `json:"med,omitempty"`
	Prepend          int     `json:"asPathPrepend,omitempty"`
	GracefulShutdown bool    `json:"gracefulShutdown,omitempty"`
}

type rawL2Advertisement struct {
	rawScope       `json:",inline"`
	Interfaces     []string           `json:"interfaces,omitempty"`
	PreferredNodes []rawPreferredNode `json:"preferredNodeSelectors,omitempty"`
}

type rawPreferredNode struct {
	Weight     int32                `json:"weight"`
	Preference metav1.LabelSelector `json:"preference"`
}
