// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/endpointslice"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
)

// Defaults of kube-controller-manager.
const (
	resyncPeriod           = 12 * time.Hour
	endpointSliceWorkers   = 5
	endpointsPerSlice      = 100
	endpointUpdatesBatch   = 0
	namespaceWorkers       = 10
	namespaceSyncPeriod    = 5 * time.Minute
	serviceAccountsWorkers = 1
)

// manager runs the controllers for EndpointSlices, namespaces and service
// accounts.
type manager struct{}

func (*manager) flags(*flag.FlagSet) {}

func (*manager) run(ctx context.Context, config *rest.Config) error {
	// The default of 20 requests a second would take a minute for the
	// EndpointSlices of 1,000 Services.
	config.QPS, config.Burst = 1000, 2000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	objects, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, resyncPeriod)
	core := factory.Core().V1()
	slices := endpointslice.NewController(ctx, core.Pods(), core.Services(), core.Nodes(),
		factory.Discovery().V1().EndpointSlices(), endpointsPerSlice, client, endpointUpdatesBatch)
	namespaces := namespace.NewNamespaceController(ctx, client, objects,
		client.Discovery().ServerPreferredNamespacedResources, core.Namespaces(), namespaceSyncPeriod, corev1.FinalizerKubernetes)
	accounts, err := serviceaccount.NewServiceAccountsController(klog.FromContext(ctx),
		core.ServiceAccounts(), core.Namespaces(), client, serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return fmt.Errorf("service accounts: %w", err)
	}
	factory.Start(ctx.Done())
	go slices.Run(ctx, endpointSliceWorkers)
	go namespaces.Run(ctx, namespaceWorkers)
	accounts.Run(ctx, serviceAccountsWorkers)
	return nil
}
