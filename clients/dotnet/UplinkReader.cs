using System.Text.Json;
using System.Threading.Channels;

namespace Dmb.Client;

/// <summary>
/// Reads what a backend's users say. An uplink that comes is stored already, so that it only says when to read the
/// store, which keeps the order over a lost connection.
/// </summary>
internal sealed class UplinkReader
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    private readonly Channel<bool> _signals = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite }
    );
    private readonly NodeHttp _http;
    private readonly ClientState _state;
    private readonly TimeProvider _time;

    public UplinkReader(NodeHttp http, ClientState state, TimeProvider time, CancellationToken ended)
    {
        (_http, _state, _time) = (http, state, time);
        _ = RunAsync(ended);
    }

    /// <summary>There may be more in the store.</summary>
    public void Signal() => _signals.Writer.TryWrite(true);

    private async Task RunAsync(CancellationToken ended)
    {
        try
        {
            while (await _signals.Reader.WaitToReadAsync(ended).ConfigureAwait(false))
            {
                _signals.Reader.TryRead(out _);
                try
                {
                    while (await ReadAsync(ended).ConfigureAwait(false) > 0)
                    {
                        // More may be stored than one answer has.
                    }
                }
                catch (Exception e) when (e is HttpRequestException or HttpRefusal or JsonException or IOException)
                {
                    _state.Tell(new DmbFailure(new DmbException("internal", e.Message, retry: true)));
                    await Task.Delay(RetryAfter, _time, ended).ConfigureAwait(false);
                    Signal();
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
        {
            // The connection ended.
        }
    }

    private async Task<int> ReadAsync(CancellationToken ended)
    {
        var after = Uri.EscapeDataString(_state.LastUplink ?? "");
        var path = $"backend/{_state.Bkid}/uplink/stored?after={after}";
        var stored = await _http.AskAsync(HttpMethod.Get, path, null, ended).ConfigureAwait(false);
        if (stored.ValueKind != JsonValueKind.Array)
        {
            throw new JsonException("The stored uplink is an array.");
        }

        foreach (var item in stored.EnumerateArray())
        {
            var uplink = item.Member("uplink") ?? Json.Null;
            var id = item.Text("id") ?? throw new JsonException("An uplink without an id.");
            _state.LastUplink = id;
            _state.Tell(
                new DmbUplink(
                    id,
                    uplink.Text("type") ?? "",
                    uplink.Text("user") ?? "",
                    uplink.Text("session") ?? "",
                    uplink.Member("data") ?? Json.Null,
                    (int?)uplink.Number("sessions")
                )
            );
        }

        return stored.GetArrayLength();
    }
}
