namespace Dmb.Bench.Redis;

/// <summary>Settings for the servers that are started meanwhile: they inherit this process's environment.</summary>
internal sealed class Environs : IDisposable
{
    private readonly (string Name, string? Before)[] _settings;

    public Environs(params (string Name, string Value)[] settings)
    {
        _settings = [.. settings.Select(setting => (setting.Name, Environment.GetEnvironmentVariable(setting.Name)))];
        Array.ForEach(settings, setting => Environment.SetEnvironmentVariable(setting.Name, setting.Value));
    }

    public void Dispose() =>
        Array.ForEach(_settings, setting => Environment.SetEnvironmentVariable(setting.Name, setting.Before));
}
