// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
)

// A value as long as its bound is read. One that is longer is not, whichever annotation
// has it, and the Service then asks for nothing that it did not mean.
func TestWishBounds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bound int
		says  func(w cluster.Wish) bool // the value was read
	}{
		{config.AnnotationSharing, cluster.MaxAnnotation, func(w cluster.Wish) bool { return w.SharingKey != "" }},
		{config.AnnotationSharingFormerly, cluster.MaxAnnotation, func(w cluster.Wish) bool { return w.SharingKey != "" }},
		{config.AnnotationAddressPool, cluster.MaxAnnotation, func(w cluster.Wish) bool { return w.Pool != "" }},
		{config.AnnotationAddressPoolFormerly, cluster.MaxAnnotation, func(w cluster.Wish) bool { return w.Pool != "" }},
		{config.AnnotationAddrs, cluster.MaxAddrs, func(w cluster.Wish) bool { return len(w.Addrs) > 0 }},
		{config.AnnotationAddrsFormerly, cluster.MaxAddrs, func(w cluster.Wish) bool { return len(w.Addrs) > 0 }},
	} {
		value := "192.0.2.1"
		value += strings.Repeat(" ", tt.bound-len(value))
		for _, long := range []bool{false, true} {
			if long {
				value += " "
			}
			w := cluster.ReadWish(&cluster.Service{Annotations: map[string]string{tt.name: value}, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")}})
			if tt.says(w) == long || (w.Invalid != "") != long || len(w.Invalid) > 200 {
				t.Errorf("%s of %d bytes: %+v", tt.name, len(value), w)
			}
		}
	}
	w := cluster.ReadWish(&cluster.Service{Annotations: map[string]string{config.AnnotationShareWith: strings.Repeat("a,", cluster.MaxAnnotation)}})
	if w.Invalid == "" || w.ShareWith == nil || len(w.ShareWith) > 0 {
		t.Errorf("share-with: %+v", w)
	}
}
