// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
)

// guardFinalizer keeps a pool that is deleted until no Service has an address of
// it, or these are released.
const guardFinalizer = "heraldlb.io/protect-addresses"

// guard returns the request that gives a pool the finalizer where pools are
// protected, or takes it away where they are not or where the pool may go; nil if
// the pool is as it should be.
func (w *ResourceStatusWriter) guard(o observed, want reconcile.ResourceStatus) *request {
	if want.Kind != config.KindPool {
		return nil
	}
	has := slices.Contains(o.finalizers, guardFinalizer)
	needed := want.Protect && want.Reason != config.VerdictDeleted && want.Reason != config.VerdictIgnored && (has || !o.Deleting)
	if has == needed {
		return nil
	}
	finalizers := slices.DeleteFunc(slices.Clone(o.finalizers), func(f string) bool { return f == guardFinalizer })
	if needed {
		finalizers = append(finalizers, guardFinalizer)
	}
	return &request{version: o.resourceVersion, want: fmt.Sprint(finalizers), send: func(ctx context.Context) (result, error) {
		patch, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"resourceVersion": o.resourceVersion, "finalizers": finalizers},
		})
		if err != nil {
			return result{}, err
		}
		_, err = w.opts.Client.patchCustom(ctx, fieldManager, want.Kind, w.opts.Resources.opts.Namespace, want.Name, patch)
		if err != nil {
			return result{}, fmt.Errorf("%s: finalizer %s: %w", want.ID, guardFinalizer, err)
		}
		return result{}, nil
	}}
}
