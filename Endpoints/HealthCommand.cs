using System.Net;

namespace Dmb.Endpoints;

/// <summary>
/// <c>Dmb --health</c>: asks the node that runs with the same settings, for images in which there is no curl.
/// </summary>
internal static class HealthCommand
{
    public const string Argument = "--health";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>The exit code: 0 when <c>/healthz</c> answers 200, else 1 and a line on stderr.</summary>
    public static async Task<int> RunAsync(HttpOptions options)
    {
        var address =
            options.Address is { } set && !set.Equals(IPAddress.Any) && !set.Equals(IPAddress.IPv6Any)
                ? set
                : IPAddress.Loopback;
        var url = new Uri($"http://{new IPEndPoint(address, options.Port)}/healthz");
        using var http = new HttpClient { Timeout = Patience };
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
