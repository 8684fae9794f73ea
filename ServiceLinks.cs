using System.Text.RegularExpressions;

namespace Dmb;

/// <summary>
/// Recognises variables that Kubernetes and <c>docker --link</c> set per service, which are not settings: a service
/// <c>redis</c> sets <c>REDIS_PORT=tcp://10.0.0.1:6379</c>, one named <c>dmb</c> sets <c>DMB_PORT</c>.
/// </summary>
internal static partial class ServiceLinks
{
    private static readonly string[] Addresses = ["tcp://", "udp://", "sctp://"];

    /// <summary>
    /// Whether the value of a variable <c>…_PORT</c> is a service's address: <c>tcp://…</c>, <c>udp://…</c> or
    /// <c>sctp://…</c>.
    /// </summary>
    public static bool IsValue(string name, string value) =>
        name.EndsWith("_PORT", StringComparison.Ordinal)
        && Addresses.Any(start => value.StartsWith(start, StringComparison.Ordinal));

    /// <summary>Whether an unknown name is of a service link.</summary>
    public static bool IsName(string name) => Service().IsMatch(name);

    [GeneratedRegex(@"^DMB_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)$")]
    private static partial Regex Service();
}
