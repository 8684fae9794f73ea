using System.Text.RegularExpressions;

namespace Dmb;

/// <summary>
/// Variables that Kubernetes and <c>docker --link</c> set for each service of a namespace: a service <c>redis</c> makes
/// <c>REDIS_PORT=tcp://10.0.0.1:6379</c>, one called <c>dmb</c> makes <c>DMB_PORT</c>. They set nothing of the broker.
/// </summary>
internal static partial class ServiceLinks
{
    private static readonly string[] Addresses = ["tcp://", "udp://", "sctp://"];

    /// <summary>
    /// Whether a setting's value is a service's address instead: <c>tcp://…</c>, <c>udp://…</c> or <c>sctp://…</c> of a
    /// port.
    /// </summary>
    public static bool IsValue(string name, string value) =>
        name.EndsWith("_PORT", StringComparison.Ordinal)
        && Addresses.Any(start => value.StartsWith(start, StringComparison.Ordinal));

    /// <summary>Whether a name that is no setting's is one of a service.</summary>
    public static bool IsName(string name) => Service().IsMatch(name);

    [GeneratedRegex(@"^DMB_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)$")]
    private static partial Regex Service();
}
