using System.Net;

namespace Dmb.Endpoints;

/// <summary>
/// <c>Dmb --health</c>: requests <c>/healthz</c> of the node that runs with the same settings, for images without curl.
/// </summary>
internal static class HealthCommand
{
    public const string Argument = "--health";

    private static readonly TimeSpan RequestTimeout = TimeSpan.FromSeconds(10);

    /// <summary>Returns the exit code: 0 if <c>/healthz</c> answers 200, else 1, with a line on stderr.</summary>
    public static async Task<int> RunAsync(HttpOptions options)
    {
        var address =
            options.Address is { } set && !set.Equals(IPAddress.Any) && !set.Equals(IPAddress.IPv6Any)
                ? set
                : IPAddress.Loopback;
        var url = new Uri($"http://{new IPEndPoint(address, options.Port)}/healthz");
        using var http = new HttpClient { Timeout = RequestTimeout };
        try
        {
            using var answer = await http.GetAsync(url);
            answer.EnsureSuccessStatusCode();
            return 0;
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
        {
            await Console.Error.WriteLineAsync($"{url}: {e.Message}");
            return 1;
        }
    }
}
