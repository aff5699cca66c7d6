// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	kubeproxy "k8s.io/kubernetes/pkg/proxy"
	apisconfig "k8s.io/kubernetes/pkg/proxy/apis/config"
	proxyconfig "k8s.io/kubernetes/pkg/proxy/config"
	"k8s.io/kubernetes/pkg/proxy/healthcheck"
	"k8s.io/kubernetes/pkg/proxy/nftables"
	proxyutil "k8s.io/kubernetes/pkg/proxy/util"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"
)

const (
	// Defaults of kube-proxy.
	proxyResyncPeriod = 15 * time.Minute
	syncPeriod        = 30 * time.Second
	healthzAddress    = "0.0.0.0:10256"

	// otherProxyLabel marks a Service that another program serves.
	otherProxyLabel = "service.kubernetes.io/service-proxy-name"
)

// proxy is kube-proxy in nftables mode, for both address families. It leaves
// connection tracking as it is: its size belongs to the whole machine, and can be
// set in no network namespace but the first.
type proxy struct {
	node     string
	podCIDRs string
}

func (p *proxy) flags(flags *flag.FlagSet) {
	flags.StringVar(&p.node, "hostname-override", "", "`name` of the Node")
	flags.StringVar(&p.podCIDRs, "cluster-cidr", "", "address `ranges` of pods, separated by commas")
}

func (p *proxy) run(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	settings := &apisconfig.KubeProxyConfiguration{
		DetectLocalMode:  apisconfig.LocalModeClusterCIDR,
		ConfigSyncPeriod: metav1.Duration{Duration: proxyResyncPeriod},
		SyncPeriod:       metav1.Duration{Duration: syncPeriod},
		MinSyncPeriod:    metav1.Duration{Duration: time.Second},
		NFTables:         apisconfig.KubeProxyNFTablesConfiguration{MasqueradeBit: ptr.To[int32](14)},
	}
	node, err := kubeproxy.NewNodeManager(ctx, client, p.node, settings)
	if err != nil {
		return fmt.Errorf("node %s: %w", p.node, err)
	}
	recorder := events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()})
	recorder.StartRecordingToSink(ctx.Done())
	health := healthcheck.NewProxyHealthServer(healthzAddress, 2*syncPeriod, node)
	backend, err := nftables.NewDualStackProxier(ctx, settings, p.localDetectors(), p.node, nodeIPs(node.NodeIPs()),
		recorder.NewRecorder(scheme.Scheme, "kube-proxy"), health, false)
	if err != nil {
		return err
	}
	watch(ctx, client, node, backend)
	go backend.SyncLoop()
	return health.Run(ctx)
}

// localDetectors tells traffic of pods by their addresses.
func (p *proxy) localDetectors() map[corev1.IPFamily]proxyutil.LocalTrafficDetector {
	detectors := map[corev1.IPFamily]proxyutil.LocalTrafficDetector{
		corev1.IPv4Protocol: proxyutil.NewNoOpLocalDetector(),
		corev1.IPv6Protocol: proxyutil.NewNoOpLocalDetector(),
	}
	for family, cidrs := range proxyutil.MapCIDRsByIPFamily(strings.Split(p.podCIDRs, ",")) {
		detectors[family] = proxyutil.NewDetectLocalByCIDR(cidrs[0].String())
	}
	return detectors
}

// nodeIPs is a node's address of each family, by default the loopback address.
func nodeIPs(ips []net.IP) map[corev1.IPFamily]net.IP {
	byFamily := map[corev1.IPFamily]net.IP{
		corev1.IPv4Protocol: net.IPv4(127, 0, 0, 1),
		corev1.IPv6Protocol: net.IPv6loopback,
	}
	for _, ip := range ips {
		if netutils.IsIPv4(ip) {
			byFamily[corev1.IPv4Protocol] = ip
		} else {
			byFamily[corev1.IPv6Protocol] = ip
		}
	}
	return byFamily
}

// registered is a Node that has its addresses. A NodeManager ends its process when the
// Node is deleted or loses its addresses, and the kubelet starts kube-proxy again. There
// is no kubelet here: the rules stay until the Node is registered again.
type registered struct{ *kubeproxy.NodeManager }

// OnNodeChange implements proxyconfig.NodeHandler.
func (r registered) OnNodeChange(node *corev1.Node) {
	if len(node.Status.Addresses) > 0 {
		r.NodeManager.OnNodeChange(node)
	}
}

// OnNodeDelete implements proxyconfig.NodeHandler.
func (registered) OnNodeDelete(*corev1.Node) {}

// watch gives the backend the Services that are its own, their endpoints, the
// address ranges of Services and the Node. Handlers come before the informers
// start, as the first update could be lost otherwise.
func watch(ctx context.Context, client kubernetes.Interface, node *kubeproxy.NodeManager, backend kubeproxy.Provider) {
	all := informers.NewSharedInformerFactory(client, proxyResyncPeriod)
	own := informers.NewSharedInformerFactoryWithOptions(client, proxyResyncPeriod,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.LabelSelector = "!" + otherProxyLabel
			o.FieldSelector = fields.OneTermNotEqualSelector("spec.clusterIP", corev1.ClusterIPNone).String()
		}))
	ofOwn := informers.NewSharedInformerFactoryWithOptions(client, proxyResyncPeriod,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = "!" + corev1.IsHeadlessService }))

	services := proxyconfig.NewServiceConfig(ctx, own.Core().V1().Services(), proxyResyncPeriod)
	services.RegisterEventHandler(backend)
	endpoints := proxyconfig.NewEndpointSliceConfig(ctx, ofOwn.Discovery().V1().EndpointSlices(), proxyResyncPeriod)
	endpoints.RegisterEventHandler(backend)
	ranges := proxyconfig.NewServiceCIDRConfig(ctx, all.Networking().V1().ServiceCIDRs(), proxyResyncPeriod)
	ranges.RegisterEventHandler(backend)
	nodes := proxyconfig.NewNodeConfig(ctx, node.NodeInformer(), proxyResyncPeriod)
	nodes.RegisterEventHandler(registered{node})
	topology := proxyconfig.NewNodeTopologyConfig(ctx, node.NodeInformer(), proxyResyncPeriod)
	topology.RegisterEventHandler(backend)
	for _, factory := range []informers.SharedInformerFactory{all, own, ofOwn} {
		factory.Start(ctx.Done())
	}
	go services.Run(ctx.Done())
	go endpoints.Run(ctx.Done())
	go ranges.Run(ctx.Done())
	go nodes.Run(ctx.Done())
}
