// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/config"
)

func poolObject(name, addresses string) config.Object {
	return config.Object{
		ID:   config.ID{Kind: config.KindPool, Name: name},
		Spec: fmt.Appendf(nil, `{"addresses":[%q]}`, addresses),
	}
}

// pools shows what is in force.
func pools(c *config.Config) string {
	var out []string
	for _, p := range c.Pools {
		out = append(out, p.Name+"="+p.Addresses[0].String())
	}
	return strings.Join(out, " ")
}

// A process that is started again decides as the one before it did: the objects'
// status remembers for it.
func TestNextAfterRestart(t *testing.T) {
	old, other := poolObject("a", "10.0.0.0/24"), poolObject("b", "10.0.1.0/24")
	first := config.Resolved{}.Next(config.Resources{Objects: []config.Object{old, other}})
	changed := poolObject("a", "10.0.1.0/25")
	before := first.Next(config.Resources{Objects: []config.Object{changed, other}})
	refused := before.Refused()
	if len(refused) != 1 || refused[0].Name != "a" || len(refused[0].InForce) == 0 {
		t.Fatalf("refused: %+v, want a with what is in force", refused)
	}

	changed.InForce, other.Accepted = refused[0].InForce, true
	after := config.Resolved{}.Next(config.Resources{Objects: []config.Object{changed, other}})
	if got, want := pools(after.Config), pools(before.Config); got != want {
		t.Errorf("in force is %s, want %s as before", got, want)
	}
	if got, want := after.Refused()[0].Message, refused[0].Message; got != want {
		t.Errorf("refused because %q, want %q as before", got, want)
	}
}

// Annotations are remembered with the rest.
func TestNextAfterRestartAnnotations(t *testing.T) {
	p := poolObject("a", "10.0.0.0/24")
	p.Annotations = map[string]string{config.AnnotationReservations: "10.0.0.5=shop/web"}
	first := config.Resolved{}.Next(config.Resources{Objects: []config.Object{p}})
	p.Annotations = map[string]string{config.AnnotationReservations: "10.0.0.5"}
	refused := first.Next(config.Resources{Objects: []config.Object{p}}).Refused()
	if len(refused) != 1 {
		t.Fatalf("refused: %+v, want a", refused)
	}
	p.InForce = refused[0].InForce
	after := config.Resolved{}.Next(config.Resources{Objects: []config.Object{p}})
	if r := after.Config.Pools[0].Reservations; len(r) != 1 || r[0].String() != "10.0.0.5=shop/web" {
		t.Errorf("reserved is %v", r)
	}
}

// Of two that are new the older is in force, whatever their names.
func TestNextOlderFirst(t *testing.T) {
	a, b := poolObject("a", "10.0.0.0/24"), poolObject("b", "10.0.0.0/25")
	a.Created, b.Created = time.Unix(20, 0), time.Unix(10, 0)
	r := config.Resolved{}.Next(config.Resources{Objects: []config.Object{a, b}})
	if got := pools(r.Config); got != "b=10.0.0.0/25" {
		t.Errorf("in force is %s", got)
	}
}

// What gave way to something that gave way itself is in force after all.
func TestNextRestores(t *testing.T) {
	objects := func(a, b, c string) config.Resources {
		return config.Resources{Objects: []config.Object{poolObject("a", a), poolObject("b", b), poolObject("c", c)}}
	}
	r := config.Resolved{}.Next(objects("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"))
	// A takes of B what B gives up, but B cannot have what it wants of C.
	r = r.Next(objects("10.0.1.0/25", "10.0.2.0/25", "10.0.2.0/24"))
	if got := pools(r.Config); got != "a=10.0.0.0/24 b=10.0.1.0/24 c=10.0.2.0/24" {
		t.Errorf("in force is %s", got)
	}
	// Once C makes room, all are in force.
	r = r.Next(objects("10.0.1.0/25", "10.0.2.0/25", "10.0.3.0/24"))
	if got := pools(r.Config); got != "a=10.0.1.0/25 b=10.0.2.0/25 c=10.0.3.0/24" {
		t.Errorf("in force is %s", got)
	}
}

func BenchmarkNext(b *testing.B) {
	var res config.Resources
	for i := range 1000 {
		res.Objects = append(res.Objects, poolObject(fmt.Sprintf("p%d", i), fmt.Sprintf("10.%d.%d.0/24", i/256, i%256)))
	}
	res.Objects = append(res.Objects, poolObject("bad", "10.0.0.0/25"))
	for b.Loop() {
		config.Resolved{}.Next(res)
	}
}
