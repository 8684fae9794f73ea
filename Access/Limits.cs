using System.Net;
using System.Net.Sockets;
using System.Threading.RateLimiting;
using Dmb.Routing;

namespace Dmb.Access;

/// <summary>
/// Limits the rates of callers: of hosts and users by name, of other callers by address. A limit is off if its setting
/// is 0.
/// </summary>
internal sealed class Limits(AccessOptions options) : IDisposable
{
    private const int Ipv6NetworkBytes = 8;

    private readonly PartitionedRateLimiter<string>? _publishes = PerSecond(options.PublishRate);
    private readonly PartitionedRateLimiter<string>? _joins = PerSecond(options.JoinRate);
    private readonly PartitionedRateLimiter<string>? _handshakes = PerSecond(options.HandshakeRate);
    private readonly PartitionedRateLimiter<string>? _failures = PerSecond(options.FailureRate);
    private readonly PartitionedRateLimiter<string>? _sessions = Concurrent(options.MaxSessionsPerAddress);

    /// <summary>Counts one publish.</summary>
    /// <exception cref="RefusedException"><c>rate_limited</c>.</exception>
    public void Publish(Caller caller, IPAddress? address) => Acquire(_publishes, caller, address, 1, "publishes");

    /// <summary>Counts joined rooms.</summary>
    /// <exception cref="RefusedException"><c>rate_limited</c>.</exception>
    public void Join(Caller caller, IPAddress? address, int rooms) =>
        Acquire(_joins, caller, address, Math.Min(rooms, options.JoinRate), "joins");

    /// <summary>
    /// Counts refused credentials. Accepted ones are never counted, so that a guesser cannot lock out a host of the
    /// same address.
    /// </summary>
    /// <exception cref="RefusedException"><c>rate_limited</c>.</exception>
    public void Failure(IPAddress? address) => Acquire(_failures, Caller.Anonymous, address, 1, "refused credentials");

    /// <summary>Counts a handshake without credentials.</summary>
    /// <exception cref="RefusedException"><c>rate_limited</c>.</exception>
    public void Handshake(IPAddress? address) =>
        Acquire(_handshakes, Caller.Anonymous, address, 1, "sockets without credentials");

    /// <summary>Acquires a permit for a session of an address, which disposal releases; null without a limit.</summary>
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
    /// The partition of an address: for IPv6 its /64, since one customer has all of its addresses (RFC 6177).
    /// </summary>
    public static string AddressOf(IPAddress? address)
    {
        address = address is { IsIPv4MappedToIPv6: true } ? address.MapToIPv4() : address;
        return address is { AddressFamily: AddressFamily.InterNetworkV6 }
            ? Convert.ToHexString(address.GetAddressBytes().AsSpan(0, Ipv6NetworkBytes))
            : $"{address}";
    }

    private static void Acquire(
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

    private static PartitionedRateLimiter<string>? Concurrent(int limit) =>
        limit == 0
            ? null
            : PartitionedRateLimiter.Create<string, string>(key =>
                RateLimitPartition.GetConcurrencyLimiter(key, _ => new ConcurrencyLimiterOptions
                {
                    PermitLimit = limit,
                })
            );
}
