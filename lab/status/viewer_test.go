// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
)

// shipped is the ClusterRole, and the Role, that the manifests have for people who look.
const shipped = "herald-viewer"

// asShipped binds the roles of the manifests to a service account until the test ends, and
// returns the flag to be that account.
func asShipped(r *e2e.Resources) string {
	r.T.Helper()
	const name = "herald-test-shipped"
	account := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: r.Namespace, Name: "viewer"}
	rbac := r.Cluster.Client().RbacV1()
	_, err := rbac.ClusterRoleBindings().Create(r.T.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: shipped},
		Subjects:   []rbacv1.Subject{account},
	}, metav1.CreateOptions{})
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() { _ = rbac.ClusterRoleBindings().Delete(context.Background(), name, metav1.DeleteOptions{}) })
	_, err = rbac.RoleBindings(lab.HeraldNamespace).Create(r.T.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: lab.HeraldNamespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: shipped},
		Subjects:   []rbacv1.Subject{account},
	}, metav1.CreateOptions{})
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() {
		_ = rbac.RoleBindings(lab.HeraldNamespace).Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	return "--as=system:serviceaccount:" + r.Namespace + ":" + account.Name
}

// shippedRolesSuffice wants a service account with the roles of the manifests, and nothing
// else, to see all of two Services, web over BGP to a peer and lan on layer 2, and not to
// change anything.
func shippedRolesSuffice(r *e2e.Resources, web, lan, peer string) {
	r.T.Helper()
	as := asShipped(r)
	for _, see := range []struct {
		args  string
		words []string
	}{
		{"status", []string{"3 of 3 sessions up"}},
		{"why " + web, []string{"BGP sessions ok 3 of 3 are up", "routes sent ok n1, n2, n3 to " + peer}},
		{"why " + lan, []string{"layer 2 owner ok"}},
		{"why node/n1", []string{"BGP sessions ok"}},
		{"get services " + web + " " + lan, []string{web + " Announced", lan + " Announced"}},
		{"get pools -o wide", nil},
		{"get nodes", []string{"n1 answers", "n2 answers", "n3 answers"}},
		{"get peers", []string{"3/3"}},
		{"get routes --peer " + peer + " --no-headers", []string{"n1 " + peer + " 198.51.100.120/32 yes " + web, "n3 " + peer}},
		{"sessions", []string{"n1 " + peer, "Established"}},
		{"top --once", []string{"n2 answers 1/1"}},
		{"doctor", []string{"12 of 12 checks made"}},
	} {
		out := says(r, 0, see.words, append(strings.Fields(see.args), as)...)
		if strings.Contains(out, "NOT ASKED") || strings.Contains(out, "forbidden") {
			r.T.Errorf("heraldctl %s: %s may not see all:\n%s", see.args, as, out)
		}
	}
	sysdumpOf(r, as)
	for _, args := range [][]string{{"drain", "n1"}, {"undrain", "n1"}, {"check", "--cluster"}} {
		if code, out := r.Heraldctl(append(args, as)...); code != 2 || !strings.Contains(out, "is forbidden") || !strings.Contains(out, "docs/heraldctl.md#rights") {
			r.T.Errorf("heraldctl %v by %s exits with %d:\n%s", args, as, code, out)
		}
	}
}

// sysdumpOf wants sysdump to have all that a user may read, and to name the rest: logs, which
// the lab's nodes have no kubelet for, pages of FRR's container, which runs on no node of it,
// events, workloads and other ConfigMaps.
func sysdumpOf(r *e2e.Resources, as string) {
	r.T.Helper()
	name := filepath.Join(r.T.TempDir(), "bug.tar.gz")
	code, out := r.Heraldctl("sysdump", "-o", name, as)
	if code != 1 || !strings.Contains(out, "NOT READ") {
		r.T.Fatalf("sysdump exits with %d:\n%s", code, out)
	}
	f, err := os.Open(name)
	if err != nil {
		r.T.Fatal(err)
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		r.T.Fatal(err)
	}
	files := map[string]string{}
	for in := tar.NewReader(gz); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.T.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			r.T.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		files[name] = string(text)
	}
	_, unread, _ := strings.Cut(files["index.txt"], "NOT READ")
	unread, _, _ = strings.Cut(unread, "\n\n")
	for _, line := range strings.Split(unread, "\n")[1:] {
		switch file, _, _ := strings.Cut(strings.TrimSpace(line), ": "); {
		case strings.HasPrefix(file, "logs/"), strings.HasSuffix(file, "/frr-metrics.txt"):
		case file == "objects/configmaps.json", file == "objects/deployments.json", file == "objects/daemonsets.json",
			file == "objects/customresourcedefinitions.json", strings.HasPrefix(file, "objects/events"):
		default:
			r.T.Errorf("%s may not read %s", as, strings.TrimSpace(line))
		}
	}
	pages := 0
	for name, text := range files {
		if strings.HasPrefix(name, "pods/") && strings.HasSuffix(name, "/status.json") && strings.Contains(text, "schemaVersion") {
			pages++
		}
	}
	if pages < 3 || !strings.Contains(files["status.txt"], "3 of 3 sessions up") || !strings.Contains(files["objects/bgppeers.json"], "peerASN") {
		r.T.Errorf("%d pages; status:\n%s\nindex:\n%s", pages, files["status.txt"], files["index.txt"])
	}
}
