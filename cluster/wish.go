// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
)

// A Wish is what a Service asks for by annotations and spec.loadBalancerIP. It is read
// when the Service changes, not in each pass.
type Wish struct {
	Addrs      []netip.Addr // exactly these; empty: any
	Pool       string       // only from this pool; empty: any that assigns automatically
	SharingKey string       // empty: the address is not shared
	ShareWith  []string     // the other namespaces that may share it; nil: the annotation is missing
	Invalid    string       // why the addresses, the pool or the annotation for sharing cannot be read; empty: they can
	Deprecated []string     // names of annotations that are in force and deprecated
}

const (
	// MaxAnnotation bounds the value of an annotation that means something. A longer one
	// is not read.
	MaxAnnotation = 1024
	// MaxAddrs bounds a text with addresses: there are two at most, of 45 characters each.
	MaxAddrs = 128
)

// A wish is an annotation by which a Service asks for something, under its
// name of today and under the one it had before.
type wish struct{ current, deprecated string }

var (
	wishAddrs   = wish{config.AnnotationAddrs, config.AnnotationAddrsFormerly}
	wishPool    = wish{config.AnnotationAddressPool, config.AnnotationAddressPoolFormerly}
	wishSharing = wish{config.AnnotationSharing, config.AnnotationSharingFormerly}
)

// of returns what svc says, and the annotation that says it. The name of today wins even
// when it says nothing.
func (w wish) of(svc *Service) (text, name string) {
	if v, ok := svc.Annotations[w.current]; ok {
		return v, w.current
	}
	return svc.Annotations[w.deprecated], w.deprecated
}

// ReadWish returns what svc asks for. If some of it cannot be read, the Wish has neither
// addresses nor a pool.
func ReadWish(svc *Service) Wish {
	var w Wish
	for _, a := range []wish{wishAddrs, wishPool, wishSharing} {
		_, current := svc.Annotations[a.current]
		if _, ok := svc.Annotations[a.deprecated]; ok && !current {
			w.Deprecated = append(w.Deprecated, a.deprecated)
		}
	}
	var errs [4]error
	w.SharingKey, errs[0] = wishSharing.bounded(svc)
	w.ShareWith, errs[1] = sharers(svc)
	w.Pool, errs[2] = wishPool.bounded(svc)
	w.Addrs, errs[3] = wishedAddrs(svc)
	for _, err := range errs {
		if err != nil {
			w.Addrs, w.Pool, w.Invalid = nil, "", err.Error()
			break
		}
	}
	return w
}

// bounded returns what svc says, unless that is too long.
func (w wish) bounded(svc *Service) (string, error) {
	text, name := w.of(svc)
	if len(text) > MaxAnnotation {
		return "", fmt.Errorf("%s is longer than %d bytes", name, MaxAnnotation)
	}
	return text, nil
}

// sharers returns the namespaces whose Services may share the addresses of svc.
func sharers(svc *Service) ([]string, error) {
	text, ok := svc.Annotations[config.AnnotationShareWith]
	if !ok {
		return nil, nil
	}
	if len(text) > MaxAnnotation {
		return []string{}, fmt.Errorf("%s is longer than %d bytes", config.AnnotationShareWith, MaxAnnotation)
	}
	out, err := config.ParseNamespaces(text)
	if err != nil {
		return []string{}, fmt.Errorf("invalid %s: %w", config.AnnotationShareWith, err)
	}
	return out, nil
}

// wishedAddrs returns the addresses that svc asks for by an annotation or by
// spec.loadBalancerIP; none if it takes any.
func wishedAddrs(svc *Service) ([]netip.Addr, error) {
	text, _ := wishAddrs.of(svc)
	if text == "" && svc.LoadBalancerIP == "" {
		return nil, nil
	}
	if text != "" && svc.LoadBalancerIP != "" {
		return nil, fmt.Errorf("service can not have both %s and svc.Spec.LoadBalancerIP", wishAddrs.current)
	}
	var addrs []netip.Addr
	if text == "" {
		addr, err := wishedAddr(svc.LoadBalancerIP)
		if err != nil {
			return nil, fmt.Errorf("invalid spec.loadBalancerIP %s", excerpt.Quote(svc.LoadBalancerIP))
		}
		addrs = []netip.Addr{addr}
	} else {
		if len(text) > MaxAddrs {
			return nil, fmt.Errorf("%s is longer than %d bytes, want one or two addresses", wishAddrs.current, MaxAddrs)
		}
		for field := range strings.SplitSeq(text, ",") {
			addr, err := wishedAddr(strings.TrimSpace(field))
			if err != nil {
				return nil, fmt.Errorf("invalid %s %s", wishAddrs.current, excerpt.Quote(text))
			}
			addrs = append(addrs, addr)
		}
	}
	// One address for each cluster IP, of the same family.
	if len(addrs) > 2 || len(addrs) == 2 && addrs[0].Is4() == addrs[1].Is4() {
		return nil, fmt.Errorf("requested loadBalancer IP(s) %v are not one, or two of different families", addrs)
	}
	for _, addr := range addrs {
		if !slices.ContainsFunc(svc.ClusterIPs, func(ip netip.Addr) bool { return ip.Is4() == addr.Is4() }) {
			return nil, fmt.Errorf("requested loadBalancer IP(s) %v do not match the ipFamily of the service", addrs)
		}
	}
	if len(addrs) < len(svc.ClusterIPs) {
		return nil, fmt.Errorf("requested loadBalancer IP(s) %v do not match the ipFamily of the service", addrs)
	}
	return addrs, nil
}

// wishedAddr reads one address.
func wishedAddr(text string) (netip.Addr, error) {
	if len(text) > MaxAddrs {
		return netip.Addr{}, fmt.Errorf("longer than %d bytes", MaxAddrs)
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("no address without a zone")
	}
	return addr.Unmap(), nil
}
