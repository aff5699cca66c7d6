// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// KindService and KindNode are kinds of Kubernetes that have annotations of
// Herald.
const (
	KindService = "Service"
	KindNode    = "Node"
)

// Annotations of a Service. The first four are MetalLB's, which still reads three
// of them below its former prefix.
const (
	AnnotationAddrs         = "metallb.io/loadBalancerIPs"
	AnnotationAddressPool   = "metallb.io/address-pool"
	AnnotationSharing       = "metallb.io/allow-shared-ip"
	AnnotationAllocatedFrom = "metallb.io/ip-allocated-from-pool" // written, not read as a wish

	AnnotationAddrsFormerly       = "metallb.universe.tf/loadBalancerIPs"
	AnnotationAddressPoolFormerly = "metallb.universe.tf/address-pool"
	AnnotationSharingFormerly     = "metallb.universe.tf/allow-shared-ip"
)

// AnnotationShareWith of a Service names the other namespaces whose Services may share
// its addresses.
const AnnotationShareWith = "heraldlb.io/share-with"

// AnnotationDrain of a Node has it hand over what it announces.
const AnnotationDrain = "heraldlb.io/drain"

// Annotations of an IPAddressPool.
const (
	AnnotationReservations = "heraldlb.io/reservations"
	AnnotationQuota        = "heraldlb.io/quota"
	AnnotationPoolSharing  = "heraldlb.io/sharing"
)

// annotations are all that mean something, by the kind of object. Annotations
// below annotationPrefixes that are not here mean nothing.
var annotations = map[string][]string{
	KindService: {
		AnnotationAddrs, AnnotationAddressPool, AnnotationSharing, AnnotationAllocatedFrom,
		AnnotationAddrsFormerly, AnnotationAddressPoolFormerly, AnnotationSharingFormerly,
		"metallb.universe.tf/ip-allocated-from-pool", // MetalLB 0.13 wrote it
		AnnotationShareWith,
	},
	KindNode: {AnnotationDrain},
	KindPool: {AnnotationReservations, AnnotationQuota, AnnotationPoolSharing, AnnotationRelease},
}

// annotationPrefixes start the annotations of Herald and MetalLB.
var annotationPrefixes = []string{"metallb.io/", "metallb.universe.tf/", "heraldlb.io/"}

// IsAnnotation reports whether the key of an annotation starts as those of Herald
// and MetalLB do.
func IsAnnotation(key string) bool {
	return slices.ContainsFunc(annotationPrefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}

// ReadAnnotations returns those annotations of an object that start as those of
// Herald and MetalLB do; nil if there are none. It leaves out the values of those
// that mean nothing.
func ReadAnnotations(kind string, all map[string]string) map[string]string {
	var out map[string]string
	for key, value := range all {
		if !IsAnnotation(key) {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		if !slices.Contains(annotations[kind], key) {
			value = ""
		}
		out[key] = value
	}
	return out
}

const (
	// maxUnknownAnnotations bounds how many annotations a remark names.
	maxUnknownAnnotations = 3
	// maxAnnotationShown bounds how much of a key it shows. The API server allows
	// 317 characters.
	maxAnnotationShown = 100
)

// UnknownAnnotations says which annotations of an object start as those of Herald
// and MetalLB do and mean nothing on that kind, and which may be meant. It is empty
// if there are none.
func UnknownAnnotations(kind string, all map[string]string) string {
	var unknown []string
	for key := range all {
		if IsAnnotation(key) && !slices.Contains(annotations[kind], key) {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) == 0 {
		return ""
	}
	slices.Sort(unknown)
	var out []string
	for _, key := range unknown[:min(len(unknown), maxUnknownAnnotations)] {
		out = append(out, unknownAnnotation(kind, key))
	}
	if more := len(unknown) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, "; ")
}

// unknownAnnotation says that a key means nothing on a kind of object.
func unknownAnnotation(kind, key string) string {
	for _, other := range slices.Sorted(maps.Keys(annotations)) {
		if slices.Contains(annotations[other], key) {
			return fmt.Sprintf("%s has no meaning on kind %s, it is for kind %s", key, kind, other)
		}
	}
	shown := key
	if len(shown) > maxAnnotationShown {
		shown = shown[:maxAnnotationShown] + "..."
	}
	return shown + " is no annotation of MetalLB or Herald" + meantAnnotation(kind, key)
}

// meantAnnotation suggests an annotation of that kind of object, by what follows
// the prefix.
func meantAnnotation(kind, key string) string {
	_, name, _ := strings.Cut(key, "/")
	var names []string
	for _, known := range annotations[kind] {
		_, n, _ := strings.Cut(known, "/")
		names = append(names, n)
	}
	if n := closest(name, names); n != "" {
		return "; did you mean " + annotations[kind][slices.Index(names, n)] + "?"
	}
	return ""
}
