// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	// controllerLease is the Lease of the controllers.
	controllerLease = "herald-controller"
	// leaseAgain is how often a Lease that looks old is read again.
	leaseAgain = time.Second
	// leaseWait is how long a Lease is watched at least. One that a controller has given up
	// is taken by another within a second or two.
	leaseWait = 4 * time.Second
	// leaseSkew is by how much the clock of this machine may be wrong.
	leaseSkew = 2 * time.Second
)

// A leaseSpec is what Look reads of a Lease.
type leaseSpec struct {
	HolderIdentity       string
	LeaseDurationSeconds int
	RenewTime            time.Time
}

// holder returns the pod that holds the Lease.
func (s leaseSpec) holder() string {
	i := max(strings.LastIndex(s.HolderIdentity, "_"), 0)
	return s.HolderIdentity[:i]
}

// lasts returns how long the Lease is valid without renewal.
func (s leaseSpec) lasts() time.Duration { return time.Duration(s.LeaseDurationSeconds) * time.Second }

// leader reads which pod leads. The clock of this machine may be wrong. So a Lease that does
// not look new is watched for as long as it lasts, as the controllers themselves do: if it is
// renewed meanwhile, its holder leads.
func (l *look) leader(ctx context.Context) error {
	s, err := l.lease(ctx)
	if err != nil {
		return err
	}
	age := time.Since(s.RenewTime)
	if s.LeaseDurationSeconds == 0 || s.HolderIdentity != "" && age > -leaseSkew && age < s.lasts() {
		l.in.Leader = s.holder()
		return nil
	}
	for seen, end := s, time.Now().Add(max(s.lasts(), leaseWait)); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(leaseAgain):
		}
		if s, err = l.lease(ctx); err != nil {
			return err
		}
		if !s.RenewTime.Equal(seen.RenewTime) {
			l.in.Leader = s.holder()
			return nil
		}
	}
	return nil
}

// lease returns the Lease; the zero one if there is none.
func (l *look) lease(ctx context.Context) (leaseSpec, error) {
	text, err := l.client.custom[customVersions[0]].Get().
		AbsPath(fmt.Sprintf("/apis/coordination.k8s.io/v1/namespaces/%s/leases/%s", l.opts.Namespace, controllerLease)).DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return leaseSpec{}, nil
	}
	if apierrors.IsForbidden(err) {
		return leaseSpec{}, fmt.Errorf("the user may not get leases in namespace %s", l.opts.Namespace)
	}
	var lease struct{ Spec leaseSpec }
	if err == nil {
		err = json.Unmarshal(text, &lease)
	}
	return lease.Spec, err
}
