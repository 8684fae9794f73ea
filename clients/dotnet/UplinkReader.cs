using System.Net.Http.Headers;
using System.Text.Json;
using System.Threading.Channels;

namespace Dmb.Client;

/// <summary>
/// Reads what a backend's users say. An uplink that comes is stored already, so that it only says when to read the
/// store, which keeps the order over a lost connection.
/// </summary>
internal sealed class UplinkReader : IDisposable
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    private readonly Channel<bool> _signals = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite }
    );
    private readonly HttpClient _http = new();
    private readonly ClientState _state;
    private readonly TimeProvider _time;
    private readonly Uri _node;

    public UplinkReader(Uri node, ClientState state, TimeProvider time, CancellationToken ended)
    {
        (_state, _time) = (state, time);
        _node = new UriBuilder(node)
        {
            Scheme = node.Scheme is "wss" or "https" ? "https" : "http",
            Port = node.Port,
        }.Uri;
        _ = RunAsync(ended);
    }

    /// <summary>There may be more in the store.</summary>
    public void Signal() => _signals.Writer.TryWrite(true);

    public void Dispose() => _http.Dispose();

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
                catch (Exception e) when (e is HttpRequestException or JsonException or IOException)
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
        using var request = new HttpRequestMessage(
            HttpMethod.Get,
            new Uri(_node, $"/backend/{_state.Bkid}/uplink/stored?after={after}")
        );
        if (_state.Credential is { Length: > 0 } credential)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", credential);
        }

        using var response = await _http.SendAsync(request, ended).ConfigureAwait(false);
        response.EnsureSuccessStatusCode();
        var stored = Json.Element(await response.Content.ReadAsByteArrayAsync(ended).ConfigureAwait(false));
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
