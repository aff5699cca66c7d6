// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/reconcile"
)

// Events returns the events about an object, in the order in which they were last
// written.
func (r *Resources) Events(ctx context.Context, namespace, name string) ([]corev1.Event, error) {
	list, err := r.Cluster.Client().CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if err != nil {
		return nil, err
	}
	version := func(e corev1.Event) int {
		n, err := strconv.Atoi(e.ResourceVersion)
		if err != nil {
			panic(err)
		}
		return n
	}
	slices.SortFunc(list.Items, func(a, b corev1.Event) int { return version(a) - version(b) })
	return list.Items, nil
}

// Reported waits until a Service has the condition Announced with this reason, a message
// that has these words, and a newest event that says the same.
func (r *Resources) Reported(service, reason string, words ...string) {
	r.T.Helper()
	message := AnnouncedOf(r.Condition(service, reason, words...)).Message
	r.Eventually("newest event of "+service, func(ctx context.Context) error {
		all, err := r.Events(ctx, r.Namespace, service)
		if err != nil || len(all) == 0 {
			return fmt.Errorf("there are no events: %v", err)
		}
		e := all[len(all)-1]
		if reason == "Announced" && e.Reason == reconcile.EventAnnouncing || e.Reason == reason && strings.Contains(e.Message, message) {
			return nil
		}
		return fmt.Errorf("it is %s: %s; the condition is %s: %s", e.Reason, e.Message, reason, message)
	})
}

// Resolved waits for what a resource says of what it refers to.
func (r *Resources) Resolved(kind, name, want string) {
	r.T.Helper()
	r.Eventually(kind+" "+name+" refers to what is there", func(ctx context.Context) error {
		s, err := r.State(ctx, kind, name)
		if err == nil && s.Resolved != want {
			err = fmt.Errorf("it says %q, want %q", s.Resolved, want)
		}
		return err
	})
}

// A StatusObject is a ServiceL2Status or a ServiceBGPStatus.
type StatusObject struct {
	Name   string
	labels map[string]string
	owner  metav1.OwnerReference
	status struct {
		Node             string
		ServiceName      string
		ServiceNamespace string
		Peers            []string
		Interfaces       []struct{ Name string }
	}
}

// Statuses returns the objects of a kind about a Service of the test, in the order
// of their nodes.
func (r *Resources) Statuses(ctx context.Context, kind, service string) ([]StatusObject, error) {
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(KindOf(kind))
	list, err := r.Of(o).List(ctx, metav1.ListOptions{
		LabelSelector: "metallb.io/service-name=" + service + ",metallb.io/service-namespace=" + r.Namespace,
	})
	if err != nil {
		return nil, err
	}
	var out []StatusObject
	for _, item := range list.Items {
		s := StatusObject{Name: item.GetName(), labels: item.GetLabels()}
		if owners := item.GetOwnerReferences(); len(owners) == 1 {
			s.owner = owners[0]
		}
		b, err := json.Marshal(item.Object["status"])
		if err == nil {
			err = json.Unmarshal(b, &s.status)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b StatusObject) int { return strings.Compare(a.status.Node, b.status.Node) })
	return out, nil
}

// HasStatuses waits until the statuses of a Service are these: "node: peers" or
// "node: interfaces".
func (r *Resources) HasStatuses(kind, service string, want ...string) []StatusObject {
	r.T.Helper()
	var all []StatusObject
	r.Eventually(kind+" of "+service, func(ctx context.Context) (err error) {
		if all, err = r.Statuses(ctx, kind, service); err != nil {
			return err
		}
		var got []string
		for _, s := range all {
			ends := slices.Clone(s.status.Peers)
			for _, i := range s.status.Interfaces {
				ends = append(ends, i.Name)
			}
			got = append(got, s.status.Node+": "+strings.Join(ends, " "))
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("there are %q, want %q", got, want)
		}
		return nil
	})
	for _, s := range all {
		pod, err := r.Cluster.Client().CoreV1().Pods(lab.HeraldNamespace).Get(r.T.Context(), "herald-agent-"+s.status.Node, metav1.GetOptions{})
		if err != nil {
			r.T.Fatal(err)
		}
		if s.labels["metallb.io/node"] != s.status.Node || s.status.ServiceName != service || s.status.ServiceNamespace != r.Namespace ||
			s.owner.Kind != "Pod" || s.owner.UID != pod.UID {
			r.T.Errorf("%s is %+v", s.Name, s)
		}
	}
	return all
}

// Condition waits until a Service has the condition Announced with this reason, and
// a message that has these words.
func (r *Resources) Condition(service, reason string, words ...string) *corev1.Service {
	r.T.Helper()
	var svc *corev1.Service
	r.Eventually("condition of "+service, func(ctx context.Context) (err error) {
		if svc, err = r.Cluster.Client().CoreV1().Services(r.Namespace).Get(ctx, service, metav1.GetOptions{}); err != nil {
			return err
		}
		c := AnnouncedOf(svc)
		if c == nil || c.Reason != reason || (c.Status == metav1.ConditionTrue) != (reason == "Announced") {
			return fmt.Errorf("it is %+v, want %s", c, reason)
		}
		for _, w := range words {
			if !strings.Contains(c.Message, w) {
				return fmt.Errorf("it says %q, without %q", c.Message, w)
			}
		}
		return nil
	})
	return svc
}

// AnnouncedOf returns the condition Announced of a Service, nil if it has none.
func AnnouncedOf(svc *corev1.Service) *metav1.Condition {
	for i := range svc.Status.Conditions {
		if svc.Status.Conditions[i].Type == condition.TypeAnnounced {
			return &svc.Status.Conditions[i]
		}
	}
	return nil
}

// writes returns how many requests Herald's processes have sent that were to change
// something, without those that are due by time alone.
func (r *Resources) writes(ctx context.Context) (total int, by map[string]int, err error) {
	by, err = r.Stack.Writes(ctx)
	for _, n := range by {
		total += n
	}
	return total, by, err
}

// Quiet waits until nothing was written for a while, and returns how much was until
// then.
func (r *Resources) Quiet(long time.Duration) (total int, by map[string]int) {
	r.T.Helper()
	var since time.Time
	ctx, cancel := context.WithTimeout(r.T.Context(), 4*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		now, counts, err := r.writes(ctx)
		if err != nil {
			r.T.Fatal(err)
		}
		if since.IsZero() || now != total {
			since, total, by = time.Now(), now, counts
		}
		if time.Since(since) >= long {
			return total, by
		}
		<-tick.C
	}
}
