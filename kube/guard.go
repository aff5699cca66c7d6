// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/heraldlb/herald/config"
)

// guardFinalizer keeps a pool that is deleted until no Service has an address of
// it, or these are released.
const guardFinalizer = "heraldlb.io/protect-addresses"

// guard gives a pool the finalizer where pools are protected, and takes it away
// where they are not, or where the pool may go. It reports whether there is a newer
// version of the object now, which is looked at next.
func (r *ResourceStatus) guard(ctx context.Context, o observed, v config.Verdict, protect bool) (patched bool, err error) {
	if v.Kind != config.KindPool {
		return false, nil
	}
	has := slices.Contains(o.finalizers, guardFinalizer)
	want := protect && v.Reason != config.VerdictDeleted && v.Reason != config.VerdictIgnored && (has || !o.Deleting)
	if has == want {
		return false, nil
	}
	finalizers := slices.DeleteFunc(slices.Clone(o.finalizers), func(f string) bool { return f == guardFinalizer })
	if want {
		finalizers = append(finalizers, guardFinalizer)
	}
	// Whoever has changed the object meanwhile is looked at first.
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": o.resourceVersion, "finalizers": finalizers},
	})
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = r.opts.Client.patchCustom(ctx, fieldManager, v.Kind, r.opts.Resources.opts.Namespace, v.Name, patch)
	switch {
	case apierrors.IsConflict(err):
		r.wake()
	case apierrors.IsNotFound(err):
	case err != nil:
		return false, fmt.Errorf("finalizer %s: %w", guardFinalizer, err)
	}
	return true, nil
}
