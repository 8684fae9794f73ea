using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Backends;

/// <summary>Settings of registered backends and their stored uplinks.</summary>
internal sealed class BackendOptions
{
    [Description("How long a backend's registration lives after its last use; connected users count as use.")]
    [Range(60, 31_536_000)]
    public TimeSpan BackendTtl { get; set; } = TimeSpan.FromDays(1);

    [Description("Uplink messages stored for each backend; the oldest is dropped first.")]
    [Range(1, 1_000_000)]
    public int UplinkMessages { get; set; } = 10_000;

    [Description("Without Redis: bytes of uplink messages stored for all backends.")]
    [Range(1_024, 1_073_741_824)]
    public int UplinkBytes { get; set; } = 67_108_864;

    [Description("Without Redis: registered backends.")]
    [Range(1, 10_000_000)]
    public int MaxBackends { get; set; } = 100_000;
}
