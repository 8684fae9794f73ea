using System.Net;
using System.Net.Sockets;
using System.Threading.RateLimiting;
using Dmb.Routing;

namespace Dmb.Access;

/// <summary>
/// How much one caller may do: a key's or a token's holder wherever it comes from, and anybody else by address. Each of
/// these is off while its setting is 0.
/// </summary>
internal sealed class Limits(AccessOptions options) : IDisposable
{
    private const int Ipv6NetworkBytes = 8;

    private readonly PartitionedRateLimiter<string>? _publishes = PerSecond(options.PublishRate);
    private readonly PartitionedRateLimiter<string>? _joins = PerSecond(options.JoinRate);
    private readonly PartitionedRateLimiter<string>? _handshakes = PerSecond(options.HandshakeRate);
    private readonly PartitionedRateLimiter<string>? _failures = PerSecond(options.FailureRate);
    private readonly PartitionedRateLimiter<string>? _sessions = AtOnce(options.MaxSessionsPerAddress);

    /// <summary>Counts one message that is published.</summary>
    /// <exception cref="RefusedException"><c>rate_limited</c>.</exception>
    public void Publish(Caller caller, IPAddress? address) => Take(_publishes, caller, address, 1, "publishes");

    /// <summary>Counts rooms that are joined.</summary>
    /// <exception cref="RefusedException"><c>rate_limited</c>.</exception>
    public void Join(Caller caller, IPAddress? address, int rooms) =>
        Take(_joins, caller, address, Math.Min(rooms, options.JoinRate), "joins");

    /// <summary>
    /// Counts credentials that are not accepted. Those that are accepted are never counted: a guesser does not lock out
    /// a host that shares its address.
    /// </summary>
    /// <exception cref="RefusedException"><c>rate_limited</c>.</exception>
    public void Failure(IPAddress? address) => Take(_failures, Caller.Anonymous, address, 1, "refused credentials");

    /// <summary>Counts a socket that is opened without credentials.</summary>
    /// <exception cref="RefusedException"><c>rate_limited</c>.</exception>
    public void Handshake(IPAddress? address) =>
        Take(_handshakes, Caller.Anonymous, address, 1, "sockets without credentials");

    /// <summary>
    /// Takes a place for a session of an address, which disposing gives back; null where there is no limit.
    /// </summary>
    /// <exception cref="RefusedException"><c>rate_limited</c>.</exception>
    public IDisposable? Session(IPAddress? address)
    {
        var lease = _sessions?.AttemptAcquire(AddressOf(address));
        return lease is { IsAcquired: false }
            ? throw new RefusedException(
                ErrorCode.RateLimited,
                $"This address has {options.MaxSessionsPerAddress} sessions, which is the limit."
            )
            : lease;
    }

    public void Dispose()
    {
        _publishes?.Dispose();
        _joins?.Dispose();
        _handshakes?.Dispose();
        _failures?.Dispose();
        _sessions?.Dispose();
    }

    /// <summary>
    /// An address as it is counted: of IPv6 the network, since one customer has all of its addresses (RFC 6177).
    /// </summary>
    public static string AddressOf(IPAddress? address)
    {
        address = address is { IsIPv4MappedToIPv6: true } ? address.MapToIPv4() : address;
        return address is { AddressFamily: AddressFamily.InterNetworkV6 }
            ? Convert.ToHexString(address.GetAddressBytes().AsSpan(0, Ipv6NetworkBytes))
            : $"{address}";
    }

    private static void Take(
        PartitionedRateLimiter<string>? limiter,
        Caller caller,
        IPAddress? address,
        int permits,
        string what
    )
    {
        if (limiter is null || permits == 0)
        {
            return;
        }

        using var lease = limiter.AttemptAcquire(caller.LimitKey ?? AddressOf(address), permits);
        if (!lease.IsAcquired)
        {
            var wait = lease.TryGetMetadata(MetadataName.RetryAfter, out var after) ? after : TimeSpan.FromSeconds(1);
            throw new RefusedException(ErrorCode.RateLimited, $"Too many {what} in this second.") { RetryAfter = wait };
        }
    }

    private static PartitionedRateLimiter<string>? PerSecond(int limit) =>
        limit == 0
            ? null
            : PartitionedRateLimiter.Create<string, string>(key =>
                RateLimitPartition.GetTokenBucketLimiter(key, _ => new TokenBucketRateLimiterOptions
                {
                    TokenLimit = limit,
                    TokensPerPeriod = limit,
                    ReplenishmentPeriod = TimeSpan.FromSeconds(1),
                })
            );

    private static PartitionedRateLimiter<string>? AtOnce(int limit) =>
        limit == 0
            ? null
            : PartitionedRateLimiter.Create<string, string>(key =>
                RateLimitPartition.GetConcurrencyLimiter(key, _ => new ConcurrencyLimiterOptions
                {
                    PermitLimit = limit,
                })
            );
}
