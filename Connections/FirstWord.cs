using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Dmb.Connections;

/// <summary>
/// Closes a connection on which nothing comes. The server would keep it as long as one that waits for its next request, and only counts
/// the time that headers take from their first byte.
/// </summary>
internal sealed class FirstWord
{
    private readonly PipeReader _input;
    private volatile bool _isLate;

    private FirstWord(PipeReader input) => _input = input;

    /// <summary>Makes a connection's first byte come within a time.</summary>
    public static void Use(IConnectionBuilder connections, TimeSpan timeout)
    {
        var time = connections.ApplicationServices.GetRequiredService<TimeProvider>();
        connections.Use(next => async connection =>
        {
            if (await new FirstWord(connection.Transport.Input).ComesAsync(connection, timeout, time))
            {
                await next(connection);
            }
        });
    }

    private async Task<bool> ComesAsync(ConnectionContext connection, TimeSpan timeout, TimeProvider time)
    {
        await using var late = time.CreateTimer(static word => ((FirstWord)word!).GiveUp(), this, timeout, Timeout.InfiniteTimeSpan);

        // When the node stops, it is for the server to end what has no request.
        var asked = connection.Features.Get<IConnectionLifetimeNotificationFeature>()?.ConnectionClosedRequested ?? default;
        await using var stop = asked.Register(static input => ((PipeReader)input!).CancelPendingRead(), _input);
        ReadResult result;
        try
        {
            result = await _input.ReadAsync();
        }
        catch (Exception e) when (e is IOException or ConnectionAbortedException)
        {
            return false;
        }

        _input.AdvanceTo(result.Buffer.Start);
        return !(_isLate && result.Buffer.IsEmpty);
    }

    private void GiveUp()
    {
        _isLate = true;
        _input.CancelPendingRead();
    }
}
