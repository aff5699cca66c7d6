// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// narrow is a service account with the rights of an agent, but for Secrets: it may read
// those of one name, as docs/install.md has kustomize limit the Role.
func narrow(e *e2e.Resources, secret string) (token string) {
	e.T.Helper()
	const name = "narrow"
	ctx, client := e.T.Context(), e.Cluster.Client()
	role, err := client.RbacV1().Roles(lab.HeraldNamespace).Get(ctx, account, metav1.GetOptions{})
	if err != nil {
		e.T.Fatal(err)
	}
	role.ObjectMeta = metav1.ObjectMeta{Name: name}
	role.Rules[1].ResourceNames = []string{secret}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: lab.HeraldNamespace}},
	}
	_, roleErr := client.RbacV1().Roles(lab.HeraldNamespace).Create(ctx, role, metav1.CreateOptions{})
	_, bindErr := client.RbacV1().RoleBindings(lab.HeraldNamespace).Create(ctx, binding, metav1.CreateOptions{})
	_, accountErr := client.CoreV1().ServiceAccounts(lab.HeraldNamespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	e.T.Cleanup(func() {
		ctx := context.Background()
		_ = client.RbacV1().Roles(lab.HeraldNamespace).Delete(ctx, name, metav1.DeleteOptions{})
		_ = client.RbacV1().RoleBindings(lab.HeraldNamespace).Delete(ctx, name, metav1.DeleteOptions{})
		_ = client.CoreV1().ServiceAccounts(lab.HeraldNamespace).Delete(ctx, name, metav1.DeleteOptions{})
	})
	request, err := client.CoreV1().ServiceAccounts(lab.HeraldNamespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err := errors.Join(roleErr, bindErr, accountErr, err); err != nil {
		e.T.Fatal(err)
	}
	return request.Status.Token
}

// A Role may be limited to the Secrets that peers refer to: an agent reads these, and
// notices that one changes. It says so of a Secret that it may not read, and needs no
// other right.
func TestSecretsByName(t *testing.T) {
	e := e2e.NewControl(t)
	ctx := t.Context()
	secrets := e.Cluster.Client().CoreV1().Secrets(lab.HeraldNamespace)
	secret := func(name, password string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeBasicAuth, StringData: map[string]string{"password": password}}
	}
	for _, name := range []string{"tor", "canary"} {
		if _, err := secrets.Create(ctx, secret(name, "first"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = secrets.Delete(context.Background(), name, metav1.DeleteOptions{}) })
	}
	config := e.Cluster.RESTConfig(controlplane.Admin)
	config.BearerToken = narrow(e, "tor")
	raw, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.CoreV1().Secrets(lab.HeraldNamespace).List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("all Secrets may be read: %v", err)
	}
	client, err := kube.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	r := kube.NewResources(kube.ResourcesOptions{Client: client, Namespace: lab.HeraldNamespace, Wake: func() {}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	done := make(chan error, 1)
	life, stop := context.WithCancel(ctx)
	go func() { done <- r.Run(life) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	e.Apply(`{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: a}, spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.10.0.251, passwordSecret: {name: tor}}}
---
{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: b}, spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.10.0.252, passwordSecret: {name: canary}}}`)
	has := func(want string) {
		t.Helper()
		e.Eventually(want, func(context.Context) error {
			doc, _ := r.Document()
			var got []string
			if doc.Resources != nil {
				for _, s := range doc.Resources.Secrets {
					got = append(got, s.Name+"="+s.Password.Reveal()+s.Unread)
				}
			}
			if text := strings.Join(got, " "); text != want {
				return fmt.Errorf("it is %q", text)
			}
			return nil
		})
	}
	const denied = "canary=Herald has no right to; add its name to the Roles herald-agent and herald-controller"
	has(denied + " tor=first")
	if _, err := secrets.Update(ctx, secret("tor", "second"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	has(denied + " tor=second")
}

// A Secret that no peer refers to never reaches an agent: its password is nowhere in the
// memory of any, while that of a peer is in all.
func TestSecretsInMemory(t *testing.T) {
	e := e2e.NewResources(t)
	secrets := e.Cluster.Client().CoreV1().Secrets(lab.HeraldNamespace)
	// So that no text of the test's is either of them.
	password := func(name string) string { return "planted-" + name + "-" + rand.Text() }
	known, canary := password("known"), password("canary")
	for name, password := range map[string]string{"known": known, "canary": canary} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeBasicAuth, StringData: map[string]string{"password": password}}
		if _, err := secrets.Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = secrets.Delete(context.Background(), name, metav1.DeleteOptions{}) })
	}
	e.DeleteConfigMap()
	e.Apply(`{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [198.51.100.96/28]}}
---
{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: known}, spec: {myASN: 64512, peerASN: 64599, peerAddress: 10.10.0.199, passwordSecret: {name: known}}}`)
	e.Accepted("BGPPeer", "known")
	daemons := append(slices.Clone(e.Agents), e.Controllers...)
	for _, d := range daemons {
		e.Eventually(d.Name+" has the password", func(context.Context) error {
			has, err := d.Remembers(known)
			if err == nil && !has {
				err = errors.New("it has not")
			}
			return err
		})
		if has, err := d.Remembers(canary); err != nil || has {
			t.Errorf("%s has read a Secret that no peer refers to: %t, %v", d.Name, has, err)
		}
	}
}

// The API server takes the policy of the component default-deny.
func TestDefaultDeny(t *testing.T) {
	e := e2e.NewControl(t)
	text, err := os.ReadFile("../../deploy/default-deny/networkpolicy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	policy := new(networkingv1.NetworkPolicy)
	if err := yaml.UnmarshalStrict(text, policy); err != nil {
		t.Fatal(err)
	}
	all := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}
	if _, err := e.Cluster.Client().NetworkingV1().NetworkPolicies(lab.HeraldNamespace).Create(t.Context(), policy, all); err != nil {
		t.Error(err)
	}
}
